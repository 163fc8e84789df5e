"""Check that dependencies point one way: walk every import of the repository."""

import ast
from collections.abc import Iterator
from pathlib import Path

REPO = Path(__file__).parents[1]
TOP = ("wire", "services", "harness", "hivectl", "man", "sandbox", "bench", "tests")
OURS = frozenset(TOP)
SHARED = (
    "services.unit",
    "services.journal",
    "services.config",
    "services.errors",
    "services.migration",
    "services.agentfile",
    "services.tomllines",
    "services.options",
    "services.tasks",
    "services.sqlite",
    "services.deliverer",
)
ROOMS = ("approvals", "broker", "build", "dashboard", "endpoint", "lifecycle", "notify")

MODULES = sorted(path.relative_to(REPO) for top in TOP for path in (REPO / top).rglob("*.py"))


def imports(module: Path) -> Iterator[str]:
    """Yield the absolute names of all imports of a module."""
    package = module.parent.parts
    for node in ast.walk(ast.parse((REPO / module).read_text())):
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
        case ("services", room, *_) if room in ROOMS:
            return ("wire", *SHARED, f"services.{room}")
        case ("services", *_):
            return ("wire", *SHARED, "services.tests")
        case ("hivectl", *_):
            return ("wire", "hivectl")
        case ("man", *_):
            return ("man", "hivectl", "services.config", "services.agentfile")
        case ("harness", "tests", *_):
            return ("harness", "sandbox.model")  # the scripted model answers the real client
        case ("tests" | "bench", *_):
            return TOP
        case (top, *_):
            return (top,)
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


def test_only_wire_knows_dbus_next() -> None:
    assert not importing([m for m in MODULES if m.parts[0] != "wire"], "dbus_next")


def test_the_harness_needs_nothing_of_the_host() -> None:
    hosts = ("wire", "services", "hivectl", "dbus_next", "systemd", "git")
    assert not importing([m for m in MODULES if m.parts[0] == "harness"], *hosts)


def test_rules_know_no_bus() -> None:
    rules = [Path("services", room, f"{room}.py") for room in ("approvals", "lifecycle")]
    # All of the broker's sub-packages: only what lies directly in the room talks to the bus.
    rules += [m for m in MODULES if m.parts[:2] == ("services", "broker") and len(m.parts) > 3]
    rules = [m for m in rules if "tests" not in m.parts]
    assert not importing(rules, "wire.bus", "wire.interface", "wire.signals")


def test_every_package_is_one() -> None:
    """importlib's import mode, and hatch, want an __init__.py in each folder."""
    assert not [m.parent for m in MODULES if not (REPO / m.parent / "__init__.py").exists()]
