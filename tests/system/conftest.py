"""What the system tests share: the hive of this process, and figures at the end of the run."""

from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest

from tests.system.hive import AGENTS, Hive, worker
from tests.system.inside import until_idle


@pytest.fixture(scope="session")
def hive() -> Iterator[Hive]:
    """The hive, with no agents unless a test has spawned some."""
    hive = Hive(worker())
    hive.stop()  # What an interrupted run may have left.
    try:
        hive.start()
        yield hive
    finally:
        hive.stop()


@pytest.fixture(scope="session")
def swarm(hive: Hive) -> Hive:
    """The hive with manager, alice and bob running."""
    hive.start(*AGENTS)
    return hive


@pytest.fixture(autouse=True)
def fresh_start(request: pytest.FixtureRequest) -> None:
    """Begin each test without jobs, and with the starts that its units' limit allows."""
    if "hive" in request.fixturenames:
        hive = request.getfixturevalue("swarm" if "swarm" in request.fixturenames else "hive")
        hive.run("systemctl", "reset-failed", "hive-*", check=False)
        until_idle(hive)


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Show a figure at the end of the run; it is never asserted tightly."""
    return lambda figure: record_property("measured", figure)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the journal with a test that failed."""
    report = yield
    hive = getattr(item, "funcargs", {}).get("hive") or getattr(item, "funcargs", {}).get("swarm")
    if report.failed and isinstance(hive, Hive):
        report.sections.append(("journal of the hive", hive.journal()))
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say what was measured."""
    for report in terminalreporter.getreports("passed"):
        for name, figure in report.user_properties:
            if name == "measured" and report.when == "call":
                terminalreporter.write_line(f"measured: {figure}")
