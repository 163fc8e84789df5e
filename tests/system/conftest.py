"""A hive of its own for the system tests, in a sandbox named `test`, driven from the machine."""

import os
import subprocess
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

REPO = Path(__file__).resolve().parents[2]
AGENTS = ("manager", "alice", "bob")
DASHBOARD_PORT = 7001
MODEL_PORT = 7101


class Hive:
    """The sandbox `test` with a hive in it."""

    name = "test"
    dashboard_port = DASHBOARD_PORT

    def __init__(self) -> None:
        self._sandbox = [str(REPO / "sandbox/sandbox"), "--name", self.name]

    def start(self, *agents: str) -> None:
        """Boot it, install and start the hive, and see that `agents` run; only what is missing."""
        ports = [f"--dashboard-port={DASHBOARD_PORT}", f"--model-port={MODEL_PORT}"]
        subprocess.run([*self._sandbox, "hive", *ports, *agents], check=True, timeout=300)

    def stop(self, *options: str) -> None:
        """Remove every trace of it, or what `options` (`--keep`) leave."""
        subprocess.run([*self._sandbox, "down", *options], check=True, timeout=120)

    def run(
        self, *command: str, check: bool = True, timeout: float = 60, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run `command` in it and capture its output; a failure shows the output if `check`."""
        done = subprocess.run(
            [*self._sandbox, "exec", *command],
            input="" if input is None else input,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
        )
        if check and done.returncode != 0:
            pytest.fail(f"{command} exited {done.returncode}:\n{done.stdout}{done.stderr}")
        return done

    def popen(self, *command: str, **options: Any) -> "subprocess.Popen[str]":
        """Start `command` in it; killing the process kills what runs inside too."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(
            [*self._sandbox, "exec", *command], text=True, **{**pipes, **options}
        )

    def journal(self, lines: int = 80) -> str:
        """The newest lines of everything that belongs to the hive."""
        units = ["hive-*", "systemd-nspawn@*"]
        options = ["--no-pager", "--output=short-precise", f"--lines={lines}"]
        command = ["journalctl", *options, *(f"--unit={unit}" for unit in units)]
        return self.run(*command, check=False).stdout


@pytest.fixture(scope="session")
def hive() -> Iterator[Hive]:
    """The hive, with no agents unless a test has spawned some."""
    hive = Hive()
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
def own_starts(request: pytest.FixtureRequest) -> None:
    """Give each test the starts that its units' limit allows, whatever went before."""
    for name in {"hive", "swarm"} & set(request.fixturenames):
        request.getfixturevalue(name).run("systemctl", "reset-failed", "hive-*", check=False)


@pytest.fixture
def measured(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Show a figure at the end of the run; it is never asserted tightly."""
    return pytestconfig.stash.setdefault(_FIGURES, []).append


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


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the system tests out of a plain run; it must not boot a systemd unasked."""
    if "system" in config.option.markexpr or os.environ.get("HIVE_SYSTEM") == "1":
        return
    system = [item for item in items if item.get_closest_marker("system")]
    if system:
        items[:] = [item for item in items if item not in system]
        config.hook.pytest_deselected(items=system)
        config.stash[_LEFT_OUT] = len(system)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say what was measured, and what was left out and how it is run."""
    for figure in config.stash.get(_FIGURES, []):
        terminalreporter.write_line(f"measured: {figure}")
    if left_out := config.stash.get(_LEFT_OUT, 0):
        terminalreporter.write_line(
            f"{left_out} system tests were left out: `make test` runs them, `-m system` only them."
        )


_LEFT_OUT = pytest.StashKey[int]()
_FIGURES = pytest.StashKey[list[str]]()
