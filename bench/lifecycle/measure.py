"""What is measured in the host, as root: `python -m bench.lifecycle.measure WHAT NUMBER`.

WHAT is `starts`, `crashes`, `memory` or `wakeups`; its last line is JSON.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any, Final

from bench.lifecycle.audit import CGROUPS, MACHINED, MACHINED_MANAGER
from bench.lifecycle.orders import Orders, orders
from services.agent.tests.process import proportional_of
from wire import names

AGENT: Final = "bench"
UNIT: Final = f"systemd-nspawn@{names.machine_name(AGENT)}.service"
SERVICES: Final = ("lifecycle", "broker", "approvals", "dashboard")
IN_A_ROW: Final = 4
"""Crashes after which systemd would soon give up on the container."""
LIMIT: Final = 120.0


async def starts(given: Orders, number: int) -> dict[str, list[float]]:
    """Seconds of spawn, stop, and of a start and a stop of the bare unit, one after the other."""
    times: dict[str, list[float]] = {"spawn": [], "stop": [], "bare start": [], "bare stop": []}
    for _ in range(number):
        times["spawn"].append(await _timed(given, given.manager("Spawn", "sa{sv}", AGENT, {})))
        times["stop"].append(await _timed(given, given.agent(AGENT, "Stop")))
        times["bare start"].append(_systemctl("start"))
        times["bare stop"].append(_systemctl("stop"))
        await _timed(given, given.manager("Destroy", "sb", AGENT, True))
    return times


async def crashes(given: Orders, number: int) -> dict[str, list[float]]:
    """Seconds from a kill of the container's init until a bare listener hears of the machine's
    end, and until the message is in the manager's inbox.
    """
    await _timed(given, given.manager("Spawn", "sa{sv}", AGENT, {}))
    times: dict[str, list[float]] = {"removed": [], "queued": []}
    for crash in range(number):
        if crash % IN_A_ROW == 0:
            await _timed(given, given.agent(AGENT, "Restart"))
        for what, seconds in (await _crash(given)).items():
            times[what].append(seconds)
    await _timed(given, given.manager("Destroy", "sb", AGENT, True))
    return times


async def _crash(given: Orders) -> dict[str, float]:
    bus, path = given.bus, names.agent_path(AGENT)
    machine = await bus.call1(*MACHINED_MANAGER, "GetMachine", "s", names.machine_name(AGENT))
    interface = f"{MACHINED}.Machine"
    leader = await bus.call1(MACHINED, machine, names.PROPERTIES, "Get", "ss", interface, "Leader")
    async with (
        bus.subscribe(interface=MACHINED_MANAGER[2], member="MachineRemoved") as removed,
        bus.subscribe(interface=names.BROKER, member="MessageQueued", arg0=names.MANAGER) as queued,
        bus.subscribe(path=path, member="PropertiesChanged") as changed,
        asyncio.timeout(LIMIT),
    ):
        began = monotonic()
        os.kill(leader, signal.SIGKILL)
        gone, told = asyncio.create_task(_at(removed)), asyncio.create_task(_at(queued))
        times = {"removed": await gone - began, "queued": await told - began}
        async for change in changed:
            if change.args[1].get("State") == "running":
                return times
    raise AssertionError("the bus ended before the container ran again")


async def _at(signals: Any) -> float:
    """When the first of them comes."""
    await anext(signals)
    return monotonic()


async def memory(given: Orders, _number: int) -> dict[str, float]:
    """Bytes: what is shared is counted in shares."""
    await _timed(given, given.manager("Spawn", "sa{sv}", AGENT, {}))
    units = {name: f"hive-{name}.service" for name in SERVICES}
    found = {name: float(_of_group(unit)) for name, unit in units.items()}
    found["endpoint"] = _of_group(names.endpoint_unit(AGENT))
    found["agent"] = _of_group(UNIT)
    found["systemd"] = _of_group(UNIT, without="python")
    found["python"] = _of_bare_python()
    await _timed(given, given.manager("Destroy", "sb", AGENT, True))
    return found


async def wakeups(_given: Orders, seconds: int) -> dict[str, float]:
    """How often in a second anything of the hive gets a processor while nothing is to be done."""
    groups = {"services": "hive.slice/*.service", "agents": "hive.slice/hive-agents.slice"}
    before = {name: _switches(group) for name, group in groups.items()}
    await asyncio.sleep(seconds)
    return {name: (_switches(groups[name]) - before[name]) / seconds for name in groups}


def _switches(group: str) -> int:
    count = 0
    for pid in _pids(group):
        for status in Path(f"/proc/{pid}/task").glob("*/status"):
            lines = status.read_text().splitlines()
            count += sum(int(line.split()[1]) for line in lines if "voluntary_ctxt" in line)
    return count


def _of_group(unit: str, without: str = "") -> int:
    pids = list(_pids(f"hive.slice/**/{unit}"))
    programs = {pid: Path(f"/proc/{pid}/comm").read_text().strip() for pid in pids}
    return sum(proportional_of(pid) for pid in pids if programs[pid] != (without or None))


def _of_bare_python() -> int:
    show = "print(open('/proc/self/smaps_rollup').read())"
    shown = subprocess.run([sys.executable, "-c", show], check=True, capture_output=True, text=True)
    [line] = [line for line in shown.stdout.splitlines() if line.startswith("Pss:")]
    return int(line.split()[1]) * 1024


def _pids(group: str) -> Iterator[int]:
    for folder in CGROUPS.glob(group):
        for file in folder.rglob("cgroup.procs"):
            yield from map(int, file.read_text().split())


def _systemctl(verb: str) -> float:
    began = monotonic()
    subprocess.run(["systemctl", verb, UNIT], check=True)
    return monotonic() - began


async def _timed(given: Orders, order: Any) -> float:
    began = monotonic()
    ended = await given.end(await order)
    if ended.result != "done":
        raise RuntimeError(f"{ended.verb} of {ended.agent}: {ended.note}")
    return monotonic() - began


async def main(what: str, number: int) -> Any:
    """One of the measurements."""
    work = {"starts": starts, "crashes": crashes, "memory": memory, "wakeups": wakeups}[what]
    async with orders() as given:
        return await work(given, number)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1], int(sys.argv[2])))))
