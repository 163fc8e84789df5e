"""Opening a store: a file that cannot be used is refused in one sentence, and left unchanged."""

import os
import resource
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from services import migration, sqlite
from services.errors import DiskFull
from services.sqlite import StoreFormat
from wire.errors import CorruptStore

STEPS = (
    "CREATE TABLE agent (name TEXT) STRICT",
    "CREATE TABLE job (id INTEGER) STRICT",
)
MARKED = StoreFormat("message store", "hive-broker", STEPS, application=0x48495645)
PLAIN = StoreFormat("list of agents", "hive-lifecycle", STEPS)
FORMATS = pytest.mark.parametrize("fmt", [MARKED, PLAIN], ids=["marked", "plain"])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite"


def files(path: Path) -> dict[str, tuple[bytes, int]]:
    return {
        p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in path.parent.iterdir() if p.is_file()
    }


def fill(path: Path, fmt: StoreFormat) -> None:
    with closing(sqlite.open_store(path, fmt)) as db, sqlite.transaction(db):
        db.executemany("INSERT INTO agent VALUES (?)", [("alice" * 100,)] * 100)


def scribble(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(b"\xff" * 4096)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 // 4096 * 4096)


def text(path: Path) -> None:
    path.write_text("this is no database at all\n" * 100)


def foreign(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE somebody_elses (x)")


def foreign_with_a_version(path: Path) -> None:
    foreign(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 1")


def newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 3")


def of_another_user(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("gives a file to another uid: needs root")
    os.chown(path, 4711, -1)


def a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@FORMATS
@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (scribble, "is damaged ("),
        (cut, "is damaged ("),
        (text, "is not an sqlite file"),
        (foreign, "is an sqlite file of another program"),
        (foreign_with_a_version, "is an sqlite file of another program"),
        (newer, "was written by a newer Hyperhive (version 3; this one knows up to 2)"),
        (of_another_user, "belongs to uid 4711, but hive-"),
        (a_directory, "cannot be read: Is a directory"),
    ],
)
def test_it_is_refused_and_untouched(
    path: Path, fmt: StoreFormat, spoil: Callable[[Path], None], reason: str
) -> None:
    fill(path, fmt)
    spoil(path)
    before = files(path)
    with pytest.raises(CorruptStore) as refusal:
        sqlite.open_store(path, fmt)
    sentence = str(refusal.value)
    assert f"The {fmt.what} {path} {reason}" in sentence
    assert "\n" not in sentence
    assert files(path) == before


def test_the_sentence_says_what_to_do(path: Path) -> None:
    text(path)
    with pytest.raises(CorruptStore) as refusal:
        sqlite.open_store(path, PLAIN)
    assert str(refusal.value) == (
        f"The list of agents {path} is not an sqlite file; nothing was changed. Restore it from a "
        "backup, or move it away with its -wal and -shm files to start empty; then run: "
        "systemctl restart hive-lifecycle"
    )
    posts = StoreFormat("list of posts", "hive-notify", STEPS, remedy="Move it away.")
    with pytest.raises(CorruptStore, match=r"nothing was changed\. Move it away\.$"):
        sqlite.open_store(path, posts)


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorruptStore, match=r"nowhere of the list of agents .*systemctl start hive"):
        sqlite.open_store(tmp_path / "nowhere" / "store.sqlite", PLAIN)


def test_without_room_nothing_is_changed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        migration.migrate(old, path, STEPS[:1])
    before = path.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(migration, "keep", full)
    with pytest.raises(DiskFull, match=r"because the disk is full \(.*No space left"):
        sqlite.open_store(path, PLAIN)
    monkeypatch.undo()
    with closing(sqlite3.connect(path)) as db:
        assert migration.version_of(db) == 1
    assert len(path.read_bytes()) == len(before)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_full_disk_is_not_called_damage(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sqlite.open_store(path, PLAIN).close()
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with pytest.raises(CorruptStore, match="is damaged"):
            sqlite.open_store(path, PLAIN)
        disk = os.statvfs(path.parent)
        values = [*disk[:3], 0, 0, *disk[5:]]
        monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(values))
        with pytest.raises(DiskFull, match="Make room: then hive-lifecycle starts by itself"):
            sqlite.open_store(path, PLAIN)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    sqlite.open_store(path, PLAIN).close()


def only_the_header(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")


@FORMATS
@pytest.mark.parametrize("begin", [Path.touch, only_the_header])
def test_a_file_that_was_never_finished_is_finished(
    path: Path, fmt: StoreFormat, begin: Callable[[Path], None]
) -> None:
    begin(path)
    fill(path, fmt)
    sqlite.check(path, fmt)


@FORMATS
def test_an_older_one_is_migrated_and_kept(path: Path, fmt: StoreFormat) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as old:
        migration.migrate(old, path, STEPS[:1], application=fmt.application)
    sqlite.check(path, fmt)
    with closing(sqlite.open_store(path, fmt)) as db:
        assert migration.version_of(db) == fmt.version == 2
        assert tuple(db.execute("PRAGMA application_id").fetchone()) == (fmt.application,)
    assert sorted(p.name for p in path.parent.iterdir()) == [path.name, f"{path.name}.v1"]


def test_a_log_left_by_a_crash_is_neither_damage_nor_lost(path: Path) -> None:
    with closing(sqlite.open_store(path, PLAIN)) as db:
        db.execute("INSERT INTO agent VALUES ('only in the log yet')")
        crashed = path.with_name("crashed.sqlite")
        for suffix in ("", "-wal"):
            source = path.with_name(path.name + suffix)
            crashed.with_name(crashed.name + suffix).write_bytes(source.read_bytes())
    with closing(sqlite.open_store(crashed, PLAIN)) as db:
        assert [tuple(row) for row in db.execute("SELECT name FROM agent")] == [
            ("only in the log yet",)
        ]


def test_it_promises_durability(path: Path) -> None:
    with closing(sqlite.open_store(path, PLAIN)) as db:
        assert tuple(db.execute("PRAGMA synchronous").fetchone()) == (2,)  # FULL
        assert tuple(db.execute("PRAGMA journal_mode").fetchone()) == ("wal",)


def test_a_reader_only_reads(path: Path) -> None:
    fill(path, PLAIN)
    with closing(sqlite.open_reader(path)) as db:
        assert tuple(db.execute("SELECT count(*) FROM agent").fetchone()) == (100,)
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            db.execute("DELETE FROM agent")


def test_a_large_store_is_checked_where_every_call_reads(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Damage elsewhere is found when it is read, or by `check`."""
    fmt = StoreFormat("message store", "hive-broker", STEPS, quick_table="job")
    fill(path, fmt)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        [(page,)] = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'agent'")
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)
    with pytest.raises(CorruptStore, match="is damaged"):
        sqlite.open_store(path, fmt)
    monkeypatch.setattr(sqlite, "FULL_CHECK_BYTES", 0)
    sqlite.open_store(path, fmt).close()
    with pytest.raises(CorruptStore, match="is damaged"):
        sqlite.check(path, fmt)


def test_alive_is_called_while_it_is_opened(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(sqlite, "TICK", 10)
    with closing(sqlite.open_store(path, PLAIN, alive=lambda: calls.append(1))) as db:
        assert calls
        calls.clear()
        db.execute("SELECT count(*) FROM agent, agent").fetchone()
    assert not calls


def test_a_transaction_is_all_or_nothing(path: Path) -> None:
    with closing(sqlite.open_store(path, PLAIN)) as db:
        with pytest.raises(sqlite3.IntegrityError), sqlite.transaction(db):
            db.executemany("INSERT INTO agent VALUES (?)", [("alice",), (None,), (b"not text",)])
        assert tuple(db.execute("SELECT count(*) FROM agent").fetchone()) == (0,)
        with sqlite.transaction(db):
            db.execute("INSERT INTO agent VALUES ('bob')")
        assert not db.in_transaction
        assert [tuple(row) for row in db.execute("SELECT name FROM agent")] == [("bob",)]


def test_a_store_that_fails_later_is_said_to(path: Path) -> None:
    error = PLAIN.unavailable(path, sqlite3.OperationalError("database or disk is full"))
    assert str(error) == (
        f"The list of agents {path} could not be used: database or disk is full; nothing was "
        "changed. Check the disk (df, journalctl -u hive-lifecycle), then try again."
    )
