"""The sweep of one agent's files, in a process that has the rights of the agent only."""

import os
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from services.sweep import files
from services.sweep.files import EVENTS, TURNS, sweep

DAY = 86400


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make(
    file: str = EVENTS.file, table: str = "events", column: str = "at", *, old: bool = False
) -> sqlite3.Connection:
    """Make a file as the harness does, or as earlier versions of it did."""
    database = sqlite3.connect(file, isolation_level=None)
    if not old:
        database.execute("PRAGMA auto_vacuum = INCREMENTAL")
    database.execute("PRAGMA journal_mode = WAL")
    database.execute(
        f"CREATE TABLE {table} (id INTEGER PRIMARY KEY AUTOINCREMENT, {column} REAL, data TEXT)"
    )
    database.execute(f"CREATE INDEX {table}_{column} ON {table} ({column})")
    return database


def fill(database: sqlite3.Connection, ages: list[float], size: int = 10) -> None:
    database.execute("BEGIN")
    now = time.time()
    rows = [(now - age * DAY, "x" * size) for age in ages]
    database.executemany("INSERT INTO events (at, data) VALUES (?, ?)", rows)
    database.execute("COMMIT")


def count(database: sqlite3.Connection, table: str = "events") -> int:
    return int(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def test_old_rows_are_deleted_and_the_file_shrinks() -> None:
    with closing(make()) as database:
        fill(database, [8.0] * 5000 + [6.0] * 3000, size=1000)
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        before = Path(EVENTS.file).stat().st_size
        outcome = sweep()
        assert outcome.lines == [f"{EVENTS.file}: 5000 old rows were deleted"]
        assert not outcome.left_alone
        assert count(database) == 3000
        assert Path(EVENTS.file).stat().st_size < before * 0.5
        # The harness, which has the file open, goes on.
        fill(database, [0.0])
        assert count(database) == 3001
    assert sweep().lines == []


def test_a_file_of_an_earlier_version_shrinks_while_its_harness_is_at_rest() -> None:
    with closing(make(old=True)) as database:
        fill(database, [8.0] * 5000 + [6.0] * 3000 + [0.0], size=1000)
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        before = Path(EVENTS.file).stat().st_size
        assert sweep().lines == [f"{EVENTS.file}: 5000 old rows were deleted"], "it is in a turn"
        assert Path(EVENTS.file).stat().st_size == before
        database.execute("DELETE FROM events WHERE id = 8001")
        assert sweep().lines == [f"{EVENTS.file}: the file of an earlier version was rewritten"]
        assert Path(EVENTS.file).stat().st_size < before * 0.5
        assert count(database) == 3000
        # The harness, which has the file open, goes on.
        fill(database, [8.0] * 3000, size=1000)
        fill(database, [0.0] * 2000, size=1000)
        assert count(database) == 8000
        full = Path(EVENTS.file).stat().st_size
        assert sweep().lines == [f"{EVENTS.file}: 3000 old rows were deleted"]
        assert Path(EVENTS.file).stat().st_size < full
    assert sweep().lines == []


def test_rows_too_large_to_be_rewritten_are_left_alone_and_said() -> None:
    rule = replace(EVENTS, least=100, most_bytes=2**20)
    with closing(make(old=True)) as database:
        fill(database, [1.0] * 200, size=50_000)
        outcome = sweep((rule,))
        assert outcome.left_alone
        assert "is left alone: its newest rows have" in outcome.lines[0]
        assert count(database) == 100
        fill(database, [0.5] * 100)
        assert not sweep((rule,)).left_alone


def test_the_newest_rows_stay_however_old_they_are() -> None:
    with closing(make()) as database:
        fill(database, [30.0] * 2500)
        sweep()
        assert count(database) == 2000
        assert database.execute("SELECT min(id) FROM events").fetchone() == (501,)


def test_a_busy_week_is_bounded_by_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = replace(EVENTS, least=100, most_bytes=2**20)
    with closing(make()) as database:
        fill(database, [0.1] * 4000, size=1000)
        sweep((rule,))
        assert 100 <= count(database) < 1100
        fill(database, [0.0] * 100, size=100_000)
        sweep((rule,))
        assert count(database) == 100, "the newest stay, however large they are"


def test_turns_are_kept_for_ninety_days() -> None:
    with closing(make(TURNS.file, "turns", "started")) as database:
        rows = [(time.time() - age * DAY,) for age in (100, 91, 89, 0)]
        database.executemany("INSERT INTO turns (started) VALUES (?)", rows)
        sweep()
        assert count(database, "turns") == 2


def test_nothing_is_made_where_nothing_is(folder: Path) -> None:
    assert sweep().lines == []
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", "-journal"])
@pytest.mark.parametrize("trap", ["link", "dangling", "pipe", "directory", "several names"])
def test_a_trap_is_left_alone_and_said(trap: str, suffix: str, folder: Path) -> None:
    victim = folder / "victim"
    with closing(make("victim")) as database:
        fill(database, [30.0] * 2500)
    content = victim.read_bytes()
    if suffix:
        make().close()
        for leftover in folder.glob(f"{EVENTS.file}-*"):
            leftover.unlink()
    path = folder / f"{EVENTS.file}{suffix}"
    match trap:
        case "link":
            path.symlink_to("victim")
        case "dangling":
            path.symlink_to("nowhere")
        case "pipe":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
        case "several names":
            path.hardlink_to("victim")
    outcome = sweep()
    assert outcome.left_alone
    assert f"{EVENTS.file} is left alone: {EVENTS.file}{suffix} is not a file" in outcome.lines[0]
    assert victim.read_bytes() == content
    assert not (folder / "nowhere").exists()


@pytest.mark.parametrize("trap", ["damaged", "empty", "view", "trigger", "other"])
def test_a_strange_database_is_left_alone_and_said(trap: str) -> None:
    path = Path(EVENTS.file)
    match trap:
        case "damaged":
            with closing(make()) as database:
                fill(database, [30.0] * 5000)
            content = bytearray(path.read_bytes())
            content[4096 * 3 : 4096 * 30] = os.urandom(4096 * 27)
            path.write_bytes(content)
        case "empty":
            path.touch()
        case "view":
            with closing(sqlite3.connect(path)) as database:
                database.execute("CREATE VIEW events AS SELECT 1 AS id, 2 AS at")
        case "trigger":
            with closing(make()) as database:
                fill(database, [30.0] * 2500)
                database.execute(
                    "CREATE TRIGGER t AFTER DELETE ON events BEGIN"
                    " INSERT INTO events (at) VALUES (1); END"
                )
        case "other":
            path.write_bytes(b"something else" * 1000)
    outcome = sweep()
    assert outcome.left_alone
    assert "is left alone: " in outcome.lines[0]


def test_a_locked_file_is_left_alone_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "BUSY", 0.1)
    with closing(make()) as database:
        fill(database, [30.0] * 2500)
        database.execute("BEGIN IMMEDIATE")
        outcome = sweep()
        assert outcome.left_alone
        assert "locked" in outcome.lines[0]
        database.execute("ROLLBACK")
    with closing(make(TURNS.file, "turns", "started")):
        assert not sweep().left_alone


def test_a_file_that_takes_too_long_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "SECONDS", 0.0)
    with closing(make()) as database:
        fill(database, [30.0] * 20_000)
        outcome = sweep()
    assert outcome.left_alone
    assert "interrupted" in outcome.lines[0]


def test_a_huge_file_is_moved_away_unopened(folder: Path) -> None:
    with Path(EVENTS.file).open("wb") as file:
        file.truncate(files.MAX_FILE + 1)
    Path(f"{EVENTS.file}-wal").touch()
    outcome = sweep()
    assert not outcome.left_alone
    assert f"was renamed to {EVENTS.file}.too-large" in outcome.lines[0]
    assert [path.name for path in folder.iterdir()] == [f"{EVENTS.file}.too-large"]
