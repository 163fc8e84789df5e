"""Memory and wakeups of an idle hive, measured as root in the host:

`python -m bench.lifecycle.weigh [SECONDS]`; its last line is JSON: bytes of memory with one agent,
or the wakeups and the CPU time of all agents in a second, over SECONDS.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Final, TypedDict

from bench.lifecycle.audit import CGROUPS
from bench.lifecycle.measure import AGENT, UNIT
from bench.lifecycle.orders import orders
from services.endpoint.tests.process import proportional_of
from wire import names
from wire.records.lifecycle import TurnState

SERVICES: Final = ("lifecycle", "broker", "approvals", "dashboard")
AGENTS: Final = "hive.slice/hive-agents.slice"
HARNESS: Final = "python"

Chosen = Callable[[str], bool]
"""Return whether a program of that name counts."""

GROUPS: Final[dict[str, tuple[tuple[str, ...], Chosen]]] = {
    "services": (("hive.slice/hive-services.slice",), bool),
    "endpoints": ((f"{AGENTS}/hive-agent@*.service",), bool),
    "harnesses": ((f"{AGENTS}/systemd-nspawn@*.service",), lambda program: program == HARNESS),
    "containers": ((f"{AGENTS}/systemd-nspawn@*.service",), lambda program: program != HARNESS),
    "host": (("init.scope", "system.slice"), bool),
}


class Rates(TypedDict):
    """The use of the processor in a second, by the name in GROUPS."""

    wakeups: dict[str, float]
    cpu: dict[str, float]
    """Seconds."""


async def memory() -> dict[str, float]:
    """Return bytes of memory (PSS), with one idle agent."""
    async with orders() as given:
        await given.spawn(AGENT)
        await given.until(AGENT, "TurnState", TurnState.IDLE)
        found = {name: _held(f"hive.slice/**/hive-{name}.service") for name in SERVICES}
        found["endpoint"] = _held(f"{AGENTS}/{names.endpoint_unit(AGENT)}")
        found["agent"] = _held(f"{AGENTS}/{UNIT}")
        found["systemd"] = _held(f"{AGENTS}/{UNIT}", lambda program: program != HARNESS)
        found["python"] = _bare_python()
        await given.purge(AGENT)
    return found


async def rest(seconds: int) -> Rates:
    """Return for each of GROUPS how often in a second it gets a processor after a wait
    (`wakeups`), and for how many seconds (`cpu`).
    """
    before = {name: _counters(name) for name in GROUPS}
    began = monotonic()
    # The time that is measured.
    await asyncio.sleep(seconds)
    took = monotonic() - began
    rates: Rates = {"wakeups": {}, "cpu": {}}
    for name in GROUPS:
        used = [
            (now[0] - then[0], now[1] - then[1])
            for task, now in _counters(name).items()
            for then in [before[name].get(task, (0, 0))]
        ]
        rates["wakeups"][name] = sum(waits for waits, _ in used) / took
        rates["cpu"][name] = sum(cpu for _, cpu in used) / 1e9 / took
    return rates


def _counters(name: str) -> dict[Path, tuple[int, int]]:
    """Return for each thread how often it has begun to wait (each ends in a wakeup), and its ns."""
    found = {}
    for task in _tasks(name):
        status = (task / "status").read_text().splitlines()
        [waits] = [line for line in status if line.startswith("voluntary_ctxt_switches:")]
        cpu = (task / "schedstat").read_text().split()[0]
        found[task] = (int(waits.split()[1]), int(cpu))
    return found


def _tasks(name: str) -> Iterator[Path]:
    patterns, chosen = GROUPS[name]
    for pid in [pid for pattern in patterns for pid in _pids(pattern)]:
        if chosen(_program(pid)):
            yield from Path(f"/proc/{pid}/task").iterdir()


def _held(pattern: str, of: Chosen = bool) -> float:
    pids = [pid for pid in _pids(pattern) if of(_program(pid))]
    if not pids:
        raise RuntimeError(f"nothing runs in {pattern}")
    return float(sum(proportional_of(pid) for pid in pids))


def _program(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def _bare_python() -> float:
    show = "print(open('/proc/self/smaps_rollup').read())"
    shown = subprocess.run([sys.executable, "-c", show], check=True, capture_output=True, text=True)
    [line] = [line for line in shown.stdout.splitlines() if line.startswith("Pss:")]
    return float(line.split()[1]) * 1024


def _pids(pattern: str) -> Iterator[int]:
    for folder in CGROUPS.glob(pattern):
        for file in folder.rglob("cgroup.procs"):
            yield from map(int, file.read_text().split())


if __name__ == "__main__":
    found = rest(int(sys.argv[1])) if len(sys.argv) > 1 else memory()
    print(json.dumps(asyncio.run(found)))
