"""The floor: systemd-nspawn with the same root and settings, without lifecycle."""

import asyncio
from time import monotonic
from typing import Final

from wire import names

NSPAWN: Final = ("systemd-nspawn", "--quiet", "--keep-unit", "--settings=override")
UNIT: Final = (
    "--quiet",
    "--collect",
    "--service-type=notify",
    "--property=Delegate=yes",
    "--property=KillMode=mixed",
    "--setenv=SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1",
)


async def start(agent: str) -> float:
    """Start the container of `agent`, which is stopped and has its files; seconds until READY."""
    # The harness is READY when it is connected.
    await _run("systemctl", "start", names.socket_unit(agent))
    began = monotonic()
    machine = f"--machine={names.machine_name(agent)}"
    await _run("systemd-run", f"--unit={_unit(agent)}", *UNIT, *NSPAWN, machine)
    return monotonic() - began


async def stop(agent: str) -> float:
    """Stop it and return the seconds that took; its endpoint has ended, too."""
    began = monotonic()
    await _run("systemctl", "stop", _unit(agent))
    took = monotonic() - began
    await _run("systemctl", "stop", names.socket_unit(agent), names.endpoint_unit(agent))
    return took


def _unit(agent: str) -> str:
    return f"bare-{agent}.service"


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(*command)
    if await process.wait():
        raise RuntimeError(f"{' '.join(command)} failed")
