"""Migration of older files: the new file, the kept copy, and no partial result."""

import errno
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from services import migration
from wire.errors import CorruptStore

FIRST = "CREATE TABLE agent (name TEXT) STRICT; INSERT INTO agent VALUES ('alice');"
SECOND = "ALTER TABLE agent ADD COLUMN port INTEGER NOT NULL DEFAULT 7"
THIRD = "CREATE TABLE job (id INTEGER); INSERT INTO job SELECT port FROM agent -- no semicolon"
STEPS = (FIRST, SECOND, THIRD)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite"


@pytest.fixture
def db(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        yield db


def content(db: sqlite3.Connection) -> list[str]:
    return list(db.iterdump())


def beside(path: Path) -> list[str]:
    sides = {f"{path.name}{suffix}" for suffix in ("", "-wal", "-shm")}
    return sorted({found.name for found in path.parent.iterdir()} - sides)


def test_a_new_file_is_made_and_nothing_kept(db: sqlite3.Connection, path: Path) -> None:
    migration.migrate(db, path, STEPS, application=4711)
    assert db.execute("SELECT name, port, id FROM agent, job").fetchall() == [("alice", 7, 7)]
    assert migration.version_of(db) == 3
    assert db.execute("PRAGMA application_id").fetchone() == (4711,)
    assert beside(path) == []


@pytest.mark.parametrize("version", [1, 2])
def test_an_older_one_is_kept_as_it_was(db: sqlite3.Connection, path: Path, version: int) -> None:
    migration.migrate(db, path, STEPS[:version])
    db.execute("UPDATE agent SET name = 'only in the log yet'")
    before = content(db)
    migration.migrate(db, path, STEPS)
    assert db.execute("SELECT name, port, id FROM agent, job").fetchall() == [
        ("only in the log yet", 7, 7)
    ]
    kept = path.with_name(f"{path.name}.v{version}")
    assert beside(path) == [kept.name]
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    with closing(sqlite3.connect(kept)) as copy:
        assert content(copy) == before
        assert migration.version_of(copy) == version


def test_again_it_does_nothing(db: sqlite3.Connection, path: Path) -> None:
    migration.migrate(db, path, STEPS[:1])
    migration.migrate(db, path, STEPS)
    [kept] = beside(path)
    (path.parent / kept).unlink()
    before = content(db)
    migration.migrate(db, path, STEPS)
    assert (content(db), beside(path)) == (before, [])


def test_a_step_that_fails_leaves_nothing_behind(db: sqlite3.Connection, path: Path) -> None:
    migration.migrate(db, path, STEPS[:1])
    broken = (FIRST, SECOND, THIRD + "\n; INSERT INTO nowhere VALUES (1);")
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        migration.migrate(db, path, broken)
    assert migration.version_of(db) == 1
    assert not db.in_transaction
    assert db.execute("SELECT * FROM agent").fetchall() == [("alice",)]
    assert db.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'job'").fetchone() == (0,)
    migration.migrate(db, path, STEPS)
    assert migration.version_of(db) == 3
    assert beside(path) == ["store.sqlite.v1"]


def test_a_newer_one_is_refused(db: sqlite3.Connection, path: Path) -> None:
    migration.migrate(db, path, STEPS)
    before = content(db)
    with pytest.raises(CorruptStore, match=r"newer Hyperhive \(version 3; this one knows up to 2"):
        migration.migrate(db, path, STEPS[:2])
    assert (content(db), beside(path)) == (before, [])


def test_without_a_copy_nothing_is_changed(
    db: sqlite3.Connection, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    migration.migrate(db, path, STEPS[:1])
    before = content(db)
    with monkeypatch.context() as patch:
        patch.setattr("services.migration.os.fsync", full)
        with pytest.raises(OSError, match="No space left"):
            migration.migrate(db, path, STEPS)
    assert (content(db), beside(path)) == (before, [])


def test_what_a_kill_left_of_a_copy_is_replaced(db: sqlite3.Connection, path: Path) -> None:
    migration.migrate(db, path, STEPS[:1])
    path.with_name(f"{path.name}.v1.part").write_bytes(b"half of it")
    told: list[None] = []
    migration.migrate(db, path, STEPS, alive=lambda: told.append(None))
    assert told
    assert beside(path) == ["store.sqlite.v1"]
    with closing(sqlite3.connect(path.with_name("store.sqlite.v1"))) as copy:
        assert copy.execute("SELECT name FROM agent").fetchall() == [("alice",)]
