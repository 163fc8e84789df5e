"""The part of the sweep that runs as root: the rights of an agent's process, and its answer."""

import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from services.sweep.agents import UNPREPARED, Sweeper
from services.sweep.files import EVENTS, Outcome, sweep

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="takes on other uids: needs root")

ALICE = 0x1000_0000
SECRET = Path("/etc/shadow")


@pytest.fixture
def agents() -> Iterator[Path]:
    """Return a directory of agents with one, as lifecycle makes it.

    Not in pytest's directory, through which an agent may not pass.
    """
    with tempfile.TemporaryDirectory(dir="/var/tmp") as above:
        agents = Path(above)
        agents.chmod(0o711)
        make_state(agents / "alice")
        yield agents


def make_state(own: Path, owner: int = ALICE) -> Path:
    own.mkdir(0o710)
    os.chown(own, 0, owner)
    state = own / "state"
    state.mkdir(0o700)
    os.chown(state, owner, owner)
    return state


def run(agents: Path, work: object, seconds: float = 20.0) -> dict[str, tuple[str, ...]]:
    sweeper = Sweeper(agents, seconds, work=work)  # type: ignore[arg-type]
    return {
        name: (("failed",) if report.failed else ())
        + (("left alone",) if report.left_alone else ())
        + report.lines
        for name, report in sweeper.run()
    }


def attempt(number: int) -> str:
    try:
        os.setresuid(number, number, number)
    except PermissionError:
        return "refused"
    return "possible"


def test_the_process_is_the_agent_and_nothing_else(agents: Path) -> None:
    def work() -> Outcome:
        status = Path("/proc/self/status").read_text().splitlines()
        fields = dict(line.split(":\t", 1) for line in status if ":\t" in line)
        lines = [f"{key} {fields[key].split()}" for key in ("Uid", "Gid", "Groups", "CapEff")]
        lines += [f"CapPrm {fields['CapPrm']}", f"root: {attempt(0)}", f"bob: {attempt(ALICE + 1)}"]
        lines.append("secret" if os.access(SECRET, os.R_OK) else "no secret")
        Path("made").touch()
        opened = Path("/proc/self/fd").iterdir()
        lines.append(f"files {sorted(int(path.name) for path in opened)}")
        return Outcome(lines)

    lines = run(agents, work)["alice"]
    assert lines[:3] == (f"Uid {[str(ALICE)] * 4}", f"Gid {[str(ALICE)] * 4}", "Groups []")
    assert lines[3].endswith("['0000000000000000']")
    assert lines[4] == "CapPrm 0000000000000000"
    assert lines[5:8] == ("root: refused", "bob: refused", "no secret")
    assert lines[8] == "files [0, 1, 2, 3, 4]", "4 is the directory that it lists"
    made = (agents / "alice/state/made").stat()
    assert made.st_uid == ALICE


def test_an_answer_is_text_of_a_bounded_length(agents: Path) -> None:
    hostile = "<0>fake\x1b[31m\u202e"
    line = run(agents, lambda: Outcome([hostile]))["alice"][0]
    assert "\x1b" not in line
    assert "\u202e" not in line
    lines = run(agents, lambda: Outcome(["x" * 10**6, "y" * 10**6]))["alice"]
    assert sum(map(len, lines)) <= 2000
    assert run(agents, lambda: Outcome(list("abcdefghijklmnopqrstuvwxyz")))["alice"][10:] == ()


def test_a_process_that_hangs_is_stopped(agents: Path) -> None:
    def hang() -> Outcome:
        os.mkfifo("pipe")
        os.open("pipe", os.O_RDONLY)
        return Outcome()

    began = time.monotonic()
    assert run(agents, hang, 0.5) == {"alice": ("left alone", "took too long and was stopped")}
    assert time.monotonic() - began < 10


def test_a_process_that_dies_is_told(agents: Path) -> None:
    assert run(agents, os.abort)["alice"] == (
        "left alone",
        "the process ended with status -6",
    )
    found = run(agents, lambda: Outcome(["said"], left_alone=True))
    assert found["alice"] == ("left alone", "said")


def test_links_are_not_followed(agents: Path) -> None:
    def work() -> Outcome:
        return Outcome([str(Path.cwd())])

    (agents / "bob").symlink_to("alice")
    (agents / "carol").mkdir(0o710)
    os.chown(agents / "carol", 0, ALICE)
    (agents / "carol/state").symlink_to("../alice/state")
    (agents / "dora").mkdir(0o710)
    (agents / "not an agent").mkdir()
    found = run(agents, work)
    assert found["alice"] == (str(agents / "alice/state"),)
    assert found["bob"][0] == found["carol"][0] == "failed"
    assert found["dora"] == (), "it is just being made"
    assert "not an agent" not in found


def test_only_uids_of_agents_are_taken_on(agents: Path) -> None:
    make_state(agents / "eve", 0)
    assert run(agents, Outcome)["eve"] == ("failed", "belongs to uid 0, not to an agent")


def test_the_files_are_swept_through_the_directory_of_root(agents: Path) -> None:
    """sqlite opens a file by its whole path."""
    path = agents / "alice/state" / EVENTS.file
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE events (id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL)")
        database.executemany("INSERT INTO events (at) VALUES (?)", [(1.0,)] * 2100)
        database.commit()
    os.chown(path, ALICE, ALICE)
    assert run(agents, sweep)["alice"] == (f"{EVENTS.file}: 100 old rows were deleted",)
    (agents / "alice").chmod(0o700)
    assert run(agents, sweep)["alice"] == ("left alone", UNPREPARED)


def test_an_agent_that_locks_itself_out_makes_nothing_fail(agents: Path) -> None:
    (agents / "alice/state").chmod(0)
    found = run(agents, sweep)["alice"]
    assert found[0] == "left alone"
    assert "Permission denied" in found[1]
