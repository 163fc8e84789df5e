"""Check that dependencies point one way: walk every import of the repository."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.syntax import statements

REPO = Path(__file__).parents[1]
TOP = (
    *("wire", "services", "harness", "hivectl"),
    *("installer", "man", "sandbox", "bench", "tests"),
)
OURS = frozenset(TOP)
ROOMS = frozenset(path.parent.name for path in (REPO / "services").glob("*/__main__.py"))
LIBRARIES = frozenset(
    path.parent.name
    for path in (REPO / "services").glob("*/README.md")
    if path.parent.name not in ROOMS
)
"""Rooms without a process of their own, which other rooms import."""
SHARED = tuple(f"services.{path.stem}" for path in sorted((REPO / "services").glob("[!_]*.py")))
"""The modules that lie directly in services/."""

BUS = ("wire.bus", "wire.caller", "wire.clients", "wire.interface", "wire.signals")
ROLES = frozenset({"__main__.py", "interface.py", "clients.py", "clients"})
"""The names, directly in a room, of modules and packages that may use the bus."""
ADAPTERS = {
    Path("services/endpoint/server.py"): "makes the clients of a connection",
    Path("services/lifecycle/host/systemd.py"): "is the client of systemd",
}
"""Further modules that may use the bus, and why."""

OTHERS = {
    "hivectl": ("wire",),
    "man": ("hivectl", "services.config", "services.agentfile"),
    "sandbox": ("installer",),
}
"""The packages that a package may import besides itself."""

MODULES = sorted(path.relative_to(REPO) for top in TOP for path in (REPO / top).rglob("*.py"))


@cache
def imports(module: Path) -> tuple[str, ...]:
    """Return the absolute names of all imports of a module."""
    return tuple(_imports(module))


def _imports(module: Path) -> Iterator[str]:
    package = module.parent.parts
    for node in statements(ast.parse((REPO / module).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            source = ".".join(part for part in (base, node.module) if part)
            yield from (f"{source}.{alias.name}" for alias in node.names)


def is_within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def allowed(module: Path) -> tuple[str, ...]:
    """Return the packages of ours that a module may import."""
    match module.parts:
        case ("services", "gateway", "tests", *_):
            return ("wire", *SHARED, "services.gateway", "sandbox.model")  # answers the real client
        case ("services", room, *_) if room in ROOMS:
            libraries = (f"services.{library}" for library in sorted(LIBRARIES))
            return ("wire", *SHARED, f"services.{room}", *libraries)
        case ("services", library, *_) if library in LIBRARIES:
            return ("wire", *SHARED, f"services.{library}")
        case ("services", *_):
            return ("wire", *SHARED, "services.tests")
        case ("harness", "tests", *_):
            return ("harness", "sandbox.model")  # the scripted model answers the real client
        case ("tests" | "bench", *_):
            return TOP
        case (top, *_):
            return (top, *OTHERS.get(top, ()))
    return ()


def importing(modules: list[Path], *packages: str) -> dict[str, list[str]]:
    """Return the imports of something in `packages` by module."""
    found = {
        str(module): [n for n in imports(module) if any(is_within(n, p) for p in packages)]
        for module in modules
    }
    return {module: names for module, names in found.items() if names}


def test_the_walk_sees_what_it_should() -> None:
    assert Path("wire/bus.py") in MODULES
    assert "wire.errors" in imports(Path("wire/bus.py"))
    assert "wire.errors.InvalidArgument" in imports(Path("wire/names.py"))


def test_dependencies_point_one_way() -> None:
    wrong = {
        str(module): (name, f"may only import {allowed(module)}")
        for module in MODULES
        for name in imports(module)
        if name.partition(".")[0] in OURS
        and not any(is_within(name, package) for package in allowed(module))
    }
    assert not wrong


def test_the_libraries_are_known() -> None:
    """A room that lost its process would become one, and other rooms could import it."""
    assert frozenset({"quarantine"}) == LIBRARIES


def test_only_wire_knows_dbus_next() -> None:
    assert not importing([m for m in MODULES if m.parts[0] != "wire"], "dbus_next")


def test_the_harness_needs_nothing_of_the_host() -> None:
    hosts = ("wire", "services", "hivectl", "dbus_next", "systemd", "git")
    assert not importing([m for m in MODULES if m.parts[0] == "harness"], *hosts)


def uses_the_bus(module: Path) -> bool:
    """Return whether a module of a room has a role that uses the bus."""
    return module.parts[2] in ROLES or module in ADAPTERS


def rules() -> list[Path]:
    """Return the modules of all rooms that have no role on the bus."""
    rooms = [m for m in MODULES if m.parts[0] == "services" and m.parts[1] in ROOMS | LIBRARIES]
    return [m for m in rooms if "tests" not in m.parts and not uses_the_bus(m)]


def test_rules_know_no_bus() -> None:
    assert not importing(rules(), *BUS)


def test_the_rules_of_each_room_are_found() -> None:
    found = set(map(str, rules()))
    assert found >= {
        "services/approvals/approvals.py",
        "services/approvals/deploys/deployer.py",
        "services/broker/messages/broker.py",
        "services/broker/questions/questions.py",
        "services/broker/reminders/reminders.py",
        "services/build/builder.py",
        "services/dashboard/state/page_state.py",
        "services/endpoint/delivery/inbox.py",
        "services/ledger/ledger.py",
        "services/lifecycle/harnesses.py",
        "services/lifecycle/jobs/orders.py",
        "services/notify/notifier.py",
        "services/projects/projects.py",
        "services/quarantine/quarantine.py",
        "services/telemetry/telemetry.py",
    }
    assert {m.parts[1] for m in rules()} == ROOMS | LIBRARIES


def test_every_adapter_uses_the_bus() -> None:
    assert set(importing(list(ADAPTERS), *BUS)) == set(map(str, ADAPTERS))


def test_every_package_is_one() -> None:
    """importlib's import mode, and hatch, want an __init__.py in each folder."""
    assert not [m.parent for m in MODULES if not (REPO / m.parent / "__init__.py").exists()]
