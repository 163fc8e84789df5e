"""Let systemd restart a container that crashes at once: `crash_loop AGENT STARTS`.

The container of the agent must be stopped. A unit of another name starts it, with the same settings
of systemd-nspawn and of the unit; only its program is /bin/false, and there is no limit of starts.
Prints the number of starts and of those that systemd-nspawn did not reach as JSON.
"""

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path

from wire import names
from wire.bus import Bus
from wire.signals import SignalStream

TEMPLATE = Path("/usr/lib/systemd/system/systemd-nspawn@.service")
RUNTIME = Path("/run/systemd/system")
PROGRAM = "[Exec]\nBoot=no\nNotifyReady=no\nParameters=/bin/false\n"
REPLACED = ("Boot", "NotifyReady", "Parameters")
OWN = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nRestartSec=0\n"
LEFT_OUT = ("Requires", "After", "PropagatesStopTo", "IPEgressFilterPath")
"""Settings about other units, which belong to the agent's own."""
LONGEST = 1500.0
SYSTEMD = "org.freedesktop.systemd1"
MANAGER = (SYSTEMD, "/org/freedesktop/systemd1", f"{SYSTEMD}.Manager")


def systemctl(*arguments: str) -> bool:
    return subprocess.run(["systemctl", "--quiet", *arguments]).returncode == 0


def without(text: str, names: tuple[str, ...]) -> str:
    return re.sub(rf"^({'|'.join(names)})=.*\n", "", text, flags=re.MULTILINE)


def prepare(machine: str) -> str:
    settings = Path("/etc/systemd/nspawn", f"{machine}.nspawn")
    text = without(settings.read_text(), REPLACED).replace("[Exec]\n", PROGRAM)
    settings.write_text(text)
    drop_in = Path(f"/etc/systemd/system/systemd-nspawn@{machine}.service.d/50-hyperhive.conf")
    folder = RUNTIME / f"loop@{machine}.service.d"
    folder.mkdir(parents=True)
    (RUNTIME / "loop@.service").write_text(TEMPLATE.read_text())
    command = without(drop_in.read_text(), LEFT_OUT).replace(" --boot", "")
    (folder / "50-hyperhive.conf").write_text(command)
    (folder / "70-loop.conf").write_text(OWN)
    systemctl("daemon-reload")
    return f"loop@{machine}.service"


class Unit:
    """A unit, as its properties on the bus tell of it."""

    def __init__(self, bus: Bus, path: str) -> None:
        self._bus = bus
        self._path = path

    async def get(self, interface: str, name: str) -> object:
        get = (SYSTEMD, self._path, names.PROPERTIES, "Get", "ss")
        return await self._bus.call1(*get, f"{SYSTEMD}.{interface}", name)

    async def restarts(self, wanted: int, changes: SignalStream) -> int:
        """Wait until the unit has ended, or was restarted often enough; return how often it was."""
        while await self.get("Unit", "ActiveState") not in ("inactive", "failed"):
            if int(str(await self.get("Service", "NRestarts"))) >= wanted:
                break
            await anext(changes)
        return int(str(await self.get("Service", "NRestarts")))


async def loop(name: str, wanted: int) -> tuple[int, int]:
    """Start the unit again and again; return the starts, and those that were refused."""
    starts = refused = 0
    bus = await Bus.connect()
    await bus.call(*MANAGER, "Subscribe")
    path = await bus.call1(*MANAGER, "LoadUnit", "s", name)
    unit = Unit(bus, path)
    async with (
        asyncio.timeout(LONGEST),
        bus.subscribe(path=path, member="PropertiesChanged") as changes,
    ):
        while starts < wanted:
            if await asyncio.to_thread(systemctl, "start", name):
                starts += await unit.restarts(wanted - starts, changes) + 1
            else:
                refused += 1
    await bus.close()
    return starts, refused


unit = prepare(sys.argv[1])
try:
    starts, refused = asyncio.run(loop(unit, int(sys.argv[2])))
finally:
    systemctl("stop", unit)
    subprocess.run(["rm", "-r", RUNTIME / f"{unit}.d", RUNTIME / "loop@.service"], check=True)
    systemctl("daemon-reload")
print(json.dumps({"starts": starts, "refused": refused}))
