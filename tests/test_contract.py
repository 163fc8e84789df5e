"""The contract on the bus: introspection documents, code and docs/dbus.md say the same."""

import importlib
import inspect
import keyword
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

import pytest

from wire.clients.approvals import ApprovalsClient
from wire.clients.broker import BrokerClient
from wire.clients.changes import ChangesClient
from wire.clients.client import Client, method_of
from wire.clients.dashboard import DashboardClient
from wire.clients.ledger import LedgerClient
from wire.clients.lifecycle import AgentClient, JobClient, LifecycleClient
from wire.clients.projects import ProjectsClient
from wire.clients.telemetry import TelemetryClient
from wire.interface import Interface
from wire.introspection import EMITS_CHANGED, interface_element
from wire.records import (
    approvals,
    broker,
    changes,
    dashboard,
    ledger,
    lifecycle,
    projects,
    telemetry,
)
from wire.records import signature as signature_of
from wire.records.codec import is_record, types

REPO = Path(__file__).parents[1]
DOCUMENTS = sorted(REPO.glob("services/*/org.hyperhive.*.xml"))
PAGE = REPO / "docs" / "dbus.md"


@dataclass(frozen=True)
class Contract:
    """An interface as its document describes it."""

    room: str
    element: ET.Element

    @property
    def name(self) -> str:
        return self.element.get("name", "")

    def members(self, kind: str) -> dict[str, ET.Element]:
        return {member.get("name", ""): member for member in self.element.findall(kind)}


CONTRACTS = [
    Contract(document.parent.name, element)
    for document in DOCUMENTS
    for element in ET.parse(document).iter("interface")
]
EVERY_CONTRACT = pytest.mark.parametrize("contract", CONTRACTS, ids=lambda c: c.name)


def interfaces(room: str) -> dict[str, type[Interface]]:
    """The Interface classes of a room, by the name of the interface."""
    module = importlib.import_module(f"services.{room}.interface")
    classes = [c for _, c in inspect.getmembers(module, inspect.isclass)]
    return {
        c.interface_name: c
        for c in classes
        if issubclass(c, Interface) and c is not Interface and c.__module__ == module.__name__
    }


def signature(member: ET.Element, direction: str | None = None) -> str:
    return "".join(
        arg.get("type", "")
        for arg in member.findall("arg")
        if direction is None or arg.get("direction") == direction
    )


def annotation(member: ET.Element) -> str:
    """The EmitsChangedSignal of the property; D-Bus assumes `true` by default."""
    for one in member.findall("annotation"):
        if one.get("name") == EMITS_CHANGED:
            return one.get("value", "")
    return "true"


def python_names(function: object) -> list[str]:
    return list(inspect.signature(function).parameters)[1:]  # type: ignore[arg-type]


def fitting(names: list[str], arguments: list[str]) -> bool:
    """Whether the parameters have the names of the arguments, as far as Python allows."""
    return len(names) == len(arguments) and all(
        name == argument or keyword.iskeyword(argument)
        for name, argument in zip(names, arguments, strict=True)
    )


def argument_names(member: ET.Element, direction: str | None = None) -> list[str]:
    return [
        arg.get("name", "")
        for arg in member.findall("arg")
        if direction is None or arg.get("direction") == direction
    ]


def rows(interface: str) -> dict[str, list[str]]:
    """The tables of an interface's section of the page: member -> its other cells."""
    section = PAGE.read_text().split(f"\n## {interface}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {first.strip("`"): rest for first, *rest in cells}


def test_all_documents_are_found() -> None:
    assert {contract.name for contract in CONTRACTS} == {
        f"org.hyperhive.{name}1"
        for name in (
            "Broker",
            "Lifecycle",
            "Agent",
            "Job",
            "Approvals",
            "Dashboard",
            "Ledger",
            "Telemetry",
            "Projects",
            "Changes",
        )
    }


@pytest.mark.parametrize("room", sorted({contract.room for contract in CONTRACTS}))
def test_code_and_documents_have_the_same_interfaces(room: str) -> None:
    assert set(interfaces(room)) == {c.name for c in CONTRACTS if c.room == room}


@EVERY_CONTRACT
def test_methods(contract: Contract) -> None:
    code = interfaces(contract.room)[contract.name].methods
    documented = contract.members("method")
    assert {name: (spec.arguments, spec.result) for name, spec in code.items()} == {
        name: (signature(member, "in"), signature(member, "out"))
        for name, member in documented.items()
    }
    for name, member in documented.items():
        assert all(argument_names(member)), f"{name}: an argument has no name"
        assert fitting(python_names(code[name].function), argument_names(member, "in")), name


@EVERY_CONTRACT
def test_properties(contract: Contract) -> None:
    code = interfaces(contract.room)[contract.name].properties
    documented = contract.members("property")
    assert {
        name: (spec.signature, "read", "const" if spec.const else "true")
        for name, spec in code.items()
    } == {
        name: (member.get("type"), member.get("access"), annotation(member))
        for name, member in documented.items()
    }


@EVERY_CONTRACT
def test_signals(contract: Contract) -> None:
    cls = interfaces(contract.room)[contract.name]
    documented = contract.members("signal")
    assert {name: spec.signature for name, spec in cls.signals.items()} == {
        name: signature(member) for name, member in documented.items()
    }
    for name, member in documented.items():
        assert fitting(python_names(getattr(cls, name)), argument_names(member)), name


@EVERY_CONTRACT
def test_introspection_shows_the_document(contract: Contract) -> None:
    shown = interface_element(interfaces(contract.room)[contract.name])
    assert ET.canonicalize(ET.tostring(shown), strip_text=True) == ET.canonicalize(
        ET.tostring(contract.element), strip_text=True
    )


@EVERY_CONTRACT
def test_the_page_has_every_member_and_no_other(contract: Contract) -> None:
    assert set(rows(contract.name)) == {
        name for kind in ("method", "property", "signal") for name in contract.members(kind)
    }


@EVERY_CONTRACT
def test_the_page_is_right(contract: Contract) -> None:
    cls, page = interfaces(contract.room)[contract.name], rows(contract.name)
    for name, method in cls.methods.items():
        arguments, result, who, what, _ = page[name]
        assert (arguments.strip("`"), result.strip("`")) == (method.arguments, method.result), name
        assert who == str(method.allow), name
        assert what, name
    for name, prop in cls.properties.items():
        kind, changes, meaning = page[name]
        assert (kind.strip("`"), changes) == (prop.signature, "const" if prop.const else "true")
        assert meaning, name
    for name, signal in cls.signals.items():
        arguments, when = page[name]
        assert arguments.strip("`") == signal.signature, name
        assert when, name


CLIENTS: dict[str, type[Client]] = {
    client.interface: client
    for client in (
        AgentClient,
        ApprovalsClient,
        BrokerClient,
        ChangesClient,
        DashboardClient,
        JobClient,
        LedgerClient,
        LifecycleClient,
        ProjectsClient,
        TelemetryClient,
    )
}
RECORDS = {
    name: record
    for module in (
        approvals,
        broker,
        changes,
        dashboard,
        ledger,
        lifecycle,
        projects,
        telemetry,
    )
    for name, record in vars(module).items()
    if is_record(record)
}


def remote_methods(client: type[Client]) -> dict[str, tuple[str, str]]:
    """The methods of a client's own interface: arguments and result by member."""
    functions = [f for f in vars(client).values() if getattr(f, "remote_interface", None) == ""]
    found = [method_of(function) for function in functions]
    return {method.member: (method.arguments, method.result) for method in found}


@EVERY_CONTRACT
def test_the_clients_have_every_method(contract: Contract) -> None:
    assert remote_methods(CLIENTS[contract.name]) == {
        name: (signature(member, "in"), signature(member, "out"))
        for name, member in contract.members("method").items()
    }


def test_the_records_of_signals_have_their_arguments() -> None:
    signals = {
        name: signature(member)
        for contract in CONTRACTS
        for name, member in contract.members("signal").items()
        if not signature(member).startswith("a")
    }
    found = {name: signature_of(RECORDS[name])[1:-1] for name in signals if name in RECORDS}
    assert found == {name: signals[name] for name in found}
    assert set(found) == set(signals)


def test_the_rows_of_changes_have_their_signature() -> None:
    [contract] = [one for one in CONTRACTS if one.name == "org.hyperhive.Broker1"]
    changed = contract.members("signal")["MessagesChanged"]
    assert signature(changed) == "a" + signature_of(broker.MessageChange)


@pytest.mark.parametrize(
    ("interface", "record"),
    [
        ("org.hyperhive.Agent1", lifecycle.AgentProperties),
        ("org.hyperhive.Job1", lifecycle.JobProperties),
    ],
)
def test_the_records_of_properties_have_each(interface: str, record: type[tuple[object]]) -> None:
    [contract] = [one for one in CONTRACTS if one.name == interface]
    assert types(record) == {
        name: member.get("type") for name, member in contract.members("property").items()
    }
