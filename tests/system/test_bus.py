"""Every service is on the bus with the interface that its document says."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tests.system.hive import Hive
from wire import names

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
SERVICES = {
    names.BROKER: ("broker", names.BROKER_PATH),
    names.LIFECYCLE: ("lifecycle", names.LIFECYCLE_PATH),
    names.APPROVALS: ("approvals", names.APPROVALS_PATH),
    names.DASHBOARD: ("dashboard", names.DASHBOARD_PATH),
    names.LEDGER: ("ledger", names.LEDGER_PATH),
    names.PROJECTS: ("projects", names.PROJECTS_PATH),
}


def documented(service: str, room: str, interface: str) -> set[str]:
    document = ElementTree.parse(ROOT / "services" / room / f"{service}.xml")
    found = document.find(f".//interface[@name='{interface}']")
    assert found is not None
    kinds = ("method", "signal", "property")
    return {f"{child.tag} {child.get('name')}" for child in found if child.tag in kinds}


def introspected(hive: Hive, service: str, path: str, interface: str) -> set[str]:
    lines = hive.run("busctl", "introspect", service, path, interface).stdout.splitlines()[1:]
    fields = [line.split() for line in lines]
    return {f"{kind} {name.lstrip('.')}" for name, kind, *_ in fields}


@pytest.mark.parametrize("service", SERVICES)
def test_busctl_shows_the_documented_interface(swarm: Hive, service: str) -> None:
    room, path = SERVICES[service]
    assert path in swarm.run("busctl", "tree", "--list", service).stdout.split()
    assert introspected(swarm, service, path, service) == documented(service, room, service)


def test_busctl_shows_each_agent(swarm: Hive) -> None:
    path = names.agent_path("alice")
    assert path in swarm.run("busctl", "tree", "--list", names.LIFECYCLE).stdout.split()
    shown = introspected(swarm, names.LIFECYCLE, path, names.AGENT_INTERFACE)
    assert shown == documented(names.LIFECYCLE, "lifecycle", names.AGENT_INTERFACE)


def test_plain_busctl_steers_the_hive(swarm: Hive) -> None:
    broker = [names.BROKER, names.BROKER_PATH, names.BROKER]
    sent = swarm.run("busctl", "call", *broker, "Send", "ssa{sv}", "operator", "by hand", "0")
    assert sent.stdout.split()[0] == "t"
    state = swarm.run(
        "busctl",
        "get-property",
        names.LIFECYCLE,
        names.agent_path("bob"),
        "org.hyperhive.Agent1",
        "State",
    )
    assert state.stdout.split()[1] == '"running"'
