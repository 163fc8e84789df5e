"""Fixtures of the system tests, and the figures at the end of their run."""

from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest

from tests.system.hive import AGENTS, Hive, worker
from tests.system.inside import property_of, until_idle

LONGEST = (
    "limits",
    "gateway",
    "network",
    "own_network",
    "permissions",
    "awake_again",
    "sleep",
    "steering",
    "cut_off",
    "configurations",
    "turns",
    "deploy",
    "context",
    "kill",
    "disk",
    "gateway_credentials",
    "causes",
    "approvals_at_once",
    "build",
    "sandbox",
    "approvals",
)
"""The files that take longest; they begin first, so that all workers end at the same time."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move the longest files of system tests to the front."""
    places = {f"test_{name}": place for place, name in enumerate(LONGEST)}
    if all(item.get_closest_marker("system") for item in items):
        items.sort(key=lambda item: places.get(item.path.stem, len(places)))


@pytest.fixture(scope="session")
def hive() -> Iterator[Hive]:
    """Start the hive without agents, and remove it at the end."""
    hive = Hive(worker())
    hive.stop()  # an interrupted run may have left it
    try:
        hive.start()
        yield hive
    finally:
        hive.stop()


@pytest.fixture(scope="session")
def swarm(hive: Hive) -> Hive:
    """Start manager, alice and bob in the hive."""
    hive.start(*AGENTS)
    return hive


@pytest.fixture(autouse=True)
def fresh_start(request: pytest.FixtureRequest) -> None:
    """Begin each test without jobs, old messages, and starts that count towards a limit."""
    if "hive" in request.fixturenames:
        swarm = "swarm" in request.fixturenames
        hive = request.getfixturevalue("swarm" if swarm else "hive")
        hive.run("systemctl", "reset-failed", "hive-*", "systemd-nspawn@*", check=False)
        until_idle(hive)
        for agent in AGENTS if swarm else ():
            # A test may have stopped it: then it also stays stopped when the hive starts again.
            stopped = property_of(hive, agent, "State") in ("stopped", "failed")
            if stopped or not property_of(hive, agent, "Enabled"):
                hive.hivectl("start", agent, timeout=120)
        hive.begin_test()


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Return a function that shows a figure at the end of the run."""
    return lambda figure: record_property("measured", figure)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the journal to the report of a test that failed."""
    report = yield
    hive = getattr(item, "funcargs", {}).get("hive") or getattr(item, "funcargs", {}).get("swarm")
    if report.failed and isinstance(hive, Hive):
        report.sections.append(("journal of the hive", hive.journal()))
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the figures."""
    for report in terminalreporter.getreports("passed"):
        for name, figure in report.user_properties:
            if name == "measured" and report.when == "call":
                terminalreporter.write_line(f"measured: {figure}")
