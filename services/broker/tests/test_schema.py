"""A store that cannot be used is refused in one sentence, and left as it was."""

import asyncio
import errno
import os
import shutil
import signal
import sqlite3
import stat
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from services import sqlite
from services.broker import startup_timeout
from services.broker.messages.message import Draft
from services.broker.messages.store import MessageStore
from services.broker.startup_timeout import StartupTimeout
from services.broker.storage import schema
from services.broker.storage.database import Database
from services.broker.tests.room import holder, make_room
from services.broker.tests.test_store import hand_out
from services.config import BrokerConfig
from services.errors import DiskFull
from wire.errors import CorruptStore
from wire.principal import agent


def files(path: Path) -> dict[str, tuple[bytes, int]]:
    return {
        p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in path.parent.iterdir() if p.is_file()
    }


async def filled(path: Path) -> None:
    database = Database.open(path)
    store = MessageStore(database)
    await store.register("alice")
    for i in range(200):
        await store.append(Draft("operator", "alice", "message", f"text {i} " * 50))
    await database.close()


def scribble(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(b"\xff" * 200)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 // 4096 * 4096)


def text(path: Path) -> None:
    path.write_text("this is no database at all\n" * 100)


def foreign(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE somebody_elses (x)")
    db.close()


def newer(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {schema.FORMAT.version + 1}")
    db.close()
    for side in ("-wal", "-shm"):
        path.with_name(path.name + side).unlink(missing_ok=True)


def foreign_owner(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("gives a file to another uid: needs root")
    os.chown(path, 4711, -1)


def a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (scribble, "is damaged"),
        (cut, "is damaged"),
        (text, "is not an sqlite file"),
        (foreign, "is an sqlite file of another program"),
        (newer, "newer Hyperhive"),
        (foreign_owner, "belongs to uid 4711"),
        (a_directory, "cannot be read"),
    ],
)
async def test_refused_and_untouched(
    path: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    await filled(path)
    spoil(path)
    before = files(path)
    with pytest.raises(CorruptStore) as refusal:
        Database.open(path)
    sentence = str(refusal.value)
    assert reason in sentence
    assert str(path) in sentence
    assert "\n" not in sentence
    assert files(path) == before


async def test_a_log_left_by_a_crash_is_neither_damage_nor_lost(path: Path) -> None:
    await filled(path)
    database = Database.open(path)
    store = MessageStore(database)
    await store.append(Draft("operator", "alice", "message", "only in the log yet"))
    crashed = path.with_name("crashed.sqlite")
    for suffix in ("", "-wal"):
        source = path.with_name(path.name + suffix)
        crashed.with_name(crashed.name + suffix).write_bytes(source.read_bytes())
    await database.close()
    copy = Database.open(crashed)
    again = MessageStore(copy)
    assert len(await hand_out(again, "alice", 500, ())) == 201
    await copy.close()


def only_the_header(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode = WAL")
    db.close()


@pytest.mark.parametrize("begin", [Path.touch, only_the_header])
async def test_a_file_that_was_never_finished_is_finished(
    path: Path, begin: Callable[[Path], None]
) -> None:
    begin(path)
    database = Database.open(path)
    store = MessageStore(database)
    await store.register("alice")
    await database.close()


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorruptStore, match="nowhere of the message store does not exist"):
        schema.connect(tmp_path / "nowhere" / "broker.sqlite")


def test_commits_are_durable(path: Path) -> None:
    db = schema.connect(path)
    assert tuple(db.execute("PRAGMA synchronous").fetchone()) == (2,)  # FULL
    assert tuple(db.execute("PRAGMA journal_mode").fetchone()) == ("wal",)
    db.close()


ROOT = Path(__file__).parents[3]
STORES = sorted((Path(__file__).with_name("stores")).glob("*.sql"))
"""1.sql is a whole store; the others hold the steps to each later version, as they landed. Steps
that landed more than once under one number have a letter."""


def version_of(dump: Path) -> int:
    return int(dump.stem.rstrip("abcdef"))


def load(path: Path, dump: Path) -> None:
    steps = [STORES[0].with_name(f"{number}.sql") for number in range(1, version_of(dump))]
    with closing(sqlite3.connect(path)) as db:
        for step in [*steps, dump]:
            db.executescript(step.read_text())
        db.execute(f"PRAGMA user_version = {version_of(dump)}")


@pytest.mark.parametrize("dump", STORES, ids=lambda dump: dump.stem)
async def test_a_store_of_each_earlier_version_is_migrated(path: Path, dump: Path) -> None:
    """Check the content of 1.sql, which the later versions have, too."""
    load(path, dump)
    database = Database.open(path)
    store = MessageStore(database)
    [handed] = await hand_out(store, "bob", 10, ())
    assert (handed.id, handed.redeliveries, handed.body) == (2, 1, "six times seven")
    [crash, answer] = await hand_out(store, "manager", 10, ())
    assert (answer.redeliveries, answer.in_reply_to) == (2, 2)
    assert answer.body == "42 \N{EN DASH} or häßlich \N{PILE OF POO}"
    assert (crash.kind, crash.redeliveries) == ("container-crash", 0)
    known, new = await store.append(
        Draft("operator", "manager", "message", "again", dedupe_key="first")
    )
    assert (known, new) == (1, [])
    found = await database.read(
        lambda db: db.execute(
            "SELECT rowid FROM message_search WHERE message_search MATCH 'seven' ORDER BY rowid"
        ).fetchall()
    )
    assert [row["rowid"] for row in found] == [1, 2]
    await database.close()


def test_every_earlier_version_has_a_store_to_try() -> None:
    assert {version_of(dump) for dump in STORES} == set(range(1, schema.FORMAT.version))


@pytest.mark.parametrize("dump", STORES, ids=lambda dump: dump.stem)
def test_all_versions_become_the_same(path: Path, tmp_path: Path, dump: Path) -> None:
    load(path, dump)
    with (
        closing(schema.connect(path)) as old,
        closing(schema.connect(tmp_path / "fresh.sqlite")) as fresh,
    ):
        assert schema.shape(old) - schema.shape(fresh) == set()
        assert {row[:3] for row in schema.shape(fresh)} == {row[:3] for row in schema.shape(old)}


def content(path: Path) -> tuple[int, list[tuple[int, int, str]]]:
    """Return the version and the messages of a store that is not in use."""
    with closing(sqlite3.connect(path)) as db:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return version, db.execute(
            "SELECT id, deliveries, text FROM message JOIN body USING (id)"
        ).fetchall()


@pytest.mark.parametrize("dump", STORES, ids=lambda dump: dump.stem)
def test_a_store_that_is_migrated_is_kept_as_it_was(path: Path, dump: Path) -> None:
    load(path, dump)
    before = content(path)
    # The last message is in the log alone, as a broker that was killed leaves it.
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("UPDATE message SET deliveries = 7 WHERE id = 3")
    with closing(schema.connect(path)):
        pass
    writer.close()
    kept = path.with_name(f"{path.name}.v{version_of(dump)}")
    version, messages = content(kept)
    assert version == before[0] == version_of(dump)
    assert [row for row in messages if row[0] != 3] == [row for row in before[1] if row[0] != 3]
    assert [row[1] for row in messages if row[0] == 3] == [7]
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert sorted(p.name for p in path.parent.iterdir()) == [path.name, kept.name]
    changed = kept.stat().st_mtime_ns
    with closing(schema.connect(path)):
        pass
    assert kept.stat().st_mtime_ns == changed


async def test_messages_out_of_tries_become_dead_letters_after_the_migration(path: Path) -> None:
    load(path, STORES[0])
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE message SET deliveries = 9 WHERE id = 2")
        db.commit()
    database = Database.open(path)
    room = make_room(database, BrokerConfig())
    broker = room.broker
    [letter, *_] = await broker.recover()
    assert (letter.id, letter.recipient, letter.redeliveries) == (2, "bob", 9)
    assert await broker.receive(agent("bob"), holder(), 9, 0) == []
    await broker.requeue([2])
    [message] = await broker.receive(agent("bob"), holder(), 9, 0)
    assert (message.id, message.redeliveries) == (2, 9)
    await room.close()


MIGRATE = """
import os, pathlib, signal, sys
from services import migration
from services.broker.storage import schema
from services import sqlite
sqlite.TICK, migration.COPIED = 500, 8
path, limit = pathlib.Path(sys.argv[1]), int(sys.argv[2])
calls = 0
def alive():
    global calls
    calls += 1
    if calls == limit:
        os.kill(os.getpid(), signal.SIGKILL)
schema.connect(path, alive).close()
print(calls)
"""


async def migrate(path: Path, kill_at: int) -> tuple[int, str]:
    """Migrate in a process that is killed in its n-th call of `alive`; return status and output."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", MIGRATE, str(path), str(kill_at), cwd=ROOT, stdout=PIPE
    )
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode().strip()


async def test_a_migration_that_is_killed_was_not_or_is_done(tmp_path: Path) -> None:
    original = tmp_path / "original"
    load(original, STORES[0])
    with closing(sqlite3.connect(original)) as db:
        db.executemany(
            "INSERT INTO message VALUES (?, 'alice', 'bob', 'message', 1, 0, 0, NULL, 0, NULL)",
            [(i,) for i in range(6, 1006)],
        )
        db.executemany(
            "INSERT INTO body VALUES (?, ?)", [(i, f"text {i} " * 40) for i in range(6, 1006)]
        )
        db.commit()
    before = content(original)
    whole = tmp_path / "whole" / "broker.sqlite"
    whole.parent.mkdir()
    shutil.copy(original, whole)
    status, signs = await migrate(whole, 0)
    assert status == 0
    found = set()
    for kill_at in range(1, int(signs) + 1, max(1, int(signs) // 12)):
        path = tmp_path / str(kill_at) / "broker.sqlite"
        path.parent.mkdir()
        shutil.copy(original, path)
        assert await migrate(path, kill_at) == (-signal.SIGKILL, "")
        kept = path.with_name(f"{path.name}.v1")
        version, messages = content(path)
        assert messages == before[1]
        assert not kept.exists() or content(kept) == before
        assert kept.exists() or version == 1
        found.add((version, kept.exists()))
        with closing(schema.connect(path)):
            pass
        assert content(path) == (schema.FORMAT.version, before[1])
        assert content(kept) == before
        assert sorted(p.name for p in path.parent.iterdir()) == [path.name, kept.name]
    assert {(1, False), (1, True)} <= found


def test_systemd_waits_for_a_large_store(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr("services.unit.notify", told.append)
    monkeypatch.setattr(startup_timeout, "INTERVAL", 0.0)
    monkeypatch.setattr(sqlite, "TICK", 100)
    load(path, STORES[0])
    with closing(schema.connect(path, StartupTimeout().extend)):
        pass
    assert {line.splitlines()[0] for line in told} == {"EXTEND_TIMEOUT_USEC=60000000"}
    before = len(told)
    with closing(schema.connect(path, StartupTimeout().extend)) as db:
        db.execute("SELECT count(*) FROM message, message, message, message").fetchone()
    assert before < len(told) < before + 1000
    monkeypatch.setattr(startup_timeout, "INTERVAL", 3600.0)
    told.clear()
    with closing(schema.connect(path, StartupTimeout().extend)):
        pass
    assert told == []


def test_no_room_for_the_copy_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(path, STORES[0])
    before = content(path)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("services.migration.os.fsync", full)
    with pytest.raises(DiskFull, match=r"because the disk is full \(.*No space left on device"):
        schema.connect(path)
    monkeypatch.undo()
    assert content(path) == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]
