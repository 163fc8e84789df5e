"""Audit of the host: it must have the units, mounts, sockets, processes, machines and files of each
agent, and no others.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final

from bench.lifecycle.orders import Orders
from services.lifecycle.agents import uid_ranges
from wire import names
from wire.clients import machined, systemd

CGROUPS: Final = Path("/sys/fs/cgroup")
DATA: Final = Path("/var/lib/hyperhive/agents")
UIDS: Final = range(uid_ranges.FIRST, uid_ranges.FIRST + uid_ranges.COUNT * uid_ranges.SIZE)


class Fate(StrEnum):
    """The remains of an agent after its last job."""

    RUNNING = "running"
    STOPPED = "stopped"
    KEPT = "kept"
    GONE = "gone"


async def wrong(orders: Orders, fates: Mapping[str, Fate]) -> list[str]:
    """Return a sentence for everything on this host that is not as the agents' `fates` say."""
    return [
        *await _wrong_objects(orders, fates),
        *await _wrong_units(orders, fates),
        *await _wrong_machines(orders, fates),
        *_mounts(fates),
        *_processes(fates),
        *(line for agent, fate in fates.items() for line in _files(agent, fate)),
    ]


async def _wrong_objects(orders: Orders, fates: Mapping[str, Fate]) -> list[str]:
    """Return the faults in what lifecycle shows."""
    agents, jobs = await orders.lifecycle.managed_objects()
    found = [f"{path} is left" for path in jobs]
    for agent, fate in fates.items():
        shown = agents.get(names.agent_path(agent))
        state = shown.state if shown else None
        if state != (str(fate) if fate in (Fate.RUNNING, Fate.STOPPED) else None):
            found.append(f"{agent} is {state}, and should be {fate}")
        if shown and shown.enabled != (fate is Fate.RUNNING):
            found.append(f"Enabled of {agent} is {shown.enabled}, but it is {fate}")
    return found


async def _wrong_units(orders: Orders, fates: Mapping[str, Fate]) -> list[str]:
    listed = await systemd.ManagerClient(orders.bus).list_units()
    active = {unit.unit: unit.active_state for unit in listed}
    found = []
    for agent, fate in fates.items():
        sockets = (names.socket_unit(agent), names.api_socket_unit(agent))
        for unit in (_container(agent), *sockets, names.proxy_socket_unit(agent)):
            state = active.get(unit, "inactive")
            if state != ("active" if fate is Fate.RUNNING else "inactive"):
                found.append(f"{unit} is {state}, but {agent} is {fate}")
        # The endpoint and the gateway come with the first connection; nothing is being built when
        # no job runs.
        idle = [f"hive-build@{agent}.service"]
        served = [names.endpoint_unit(agent), names.gateway_unit(agent)]
        idle += served if fate is not Fate.RUNNING else []
        for unit in idle:
            if (state := active.get(unit, "inactive")) != "inactive":
                found.append(f"{unit} is {state}, but {agent} is {fate}")
    return found


async def _wrong_machines(orders: Orders, fates: Mapping[str, Fate]) -> list[str]:
    listed = await machined.ManagerClient(orders.bus).list_machines()
    machines = {machine.machine for machine in listed}
    return [
        f"machined has {'no' if fate is Fate.RUNNING else 'a'} machine of {agent}, which is {fate}"
        for agent, fate in fates.items()
        if (names.machine_name(agent) in machines) != (fate is Fate.RUNNING)
    ]


def _mounts(fates: Mapping[str, Fate]) -> Iterator[str]:
    """Yield mounts of containers: they mount in their own namespaces, so the host has none."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        where = line.split()[4].split("/")
        for agent in fates:
            if {names.machine_name(agent), agent}.intersection(where):
                yield f"{line.split()[4]} is mounted"


def _processes(fates: Mapping[str, Fate]) -> Iterator[str]:
    """Yield processes with a uid or a control group of an agent that does not run."""
    down = {agent for agent, fate in fates.items() if fate is not Fate.RUNNING}
    running = [
        range(state.stat().st_uid, state.stat().st_uid + uid_ranges.SIZE)
        for state in DATA.glob("*/state")
        if state.parent.name not in down
    ]
    for status in Path("/proc").glob("[0-9]*/status"):
        uid = _uid(status)
        if uid in UIDS and not any(uid in uids for uids in running):
            yield f"process {status.parent.name} is left, with the uid {uid} of no agent that runs"
    for agent in down:
        for unit in (_container(agent), names.endpoint_unit(agent), names.gateway_unit(agent)):
            for group in CGROUPS.glob(f"**/{unit}"):
                yield f"{group} is left, but {agent} does not run"


def _files(agent: str, fate: Fate) -> Iterator[str]:
    machine, container = names.machine_name(agent), _container(agent)
    running, gone = fate is Fate.RUNNING, fate in (Fate.KEPT, Fate.GONE)
    places = {
        f"/run/hyperhive/agents/{agent}/mcp.sock": running,
        f"/run/hyperhive/agents/{agent}/api.sock": running,
        f"/run/hyperhive/agents/{agent}/proxy.sock": running,
        f"/etc/systemd/nspawn/{machine}.nspawn": not gone,
        f"/etc/systemd/system/{container}.d": not gone,
        f"/var/lib/machines/{machine}": not gone,
        f"{DATA}/{agent}/state": fate is not Fate.GONE,
        f"{DATA}/{agent}/var": not gone,
    }
    if fate is Fate.GONE:
        places[f"/var/lib/hyperhive/builds/{agent}"] = False
    if gone:
        places[f"/run/hyperhive/builds/{agent}.env"] = False
        places[f"/run/hyperhive/agents/{agent}"] = False
        places[f"/run/hyperhive/gateway/{agent}.json"] = False
        places[f"/var/lib/hyperhive/web/{agent}"] = False
        places[f"/run/systemd/system.control/{container}.d"] = False
    for place, wanted in places.items():
        if Path(place).exists() is not wanted:
            yield f"{place} is {'missing' if wanted else 'left'}, but {agent} is {fate}"


def _uid(status: Path) -> int:
    try:
        lines = status.read_text().splitlines()
    except OSError:
        return 0  # it has ended
    return next(int(line.split()[1]) for line in lines if line.startswith("Uid:"))


def _container(agent: str) -> str:
    return f"systemd-nspawn@{names.machine_name(agent)}.service"
