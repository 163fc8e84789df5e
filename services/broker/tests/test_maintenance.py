"""Old rows are deleted, and backups are complete."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from services.broker.maintenance import retention
from services.broker.maintenance.maintenance import Maintenance
from services.broker.messages.message import Draft
from services.broker.messages.store import MessageStore
from services.broker.queries.history import History
from services.broker.storage import schema
from services.broker.storage.database import Database, now
from services.broker.tests.test_history import ask
from wire.errors import (
    AlreadyExists,
    InvalidArgument,
    Stopping,
    Unavailable,
)
from wire.principal import THE_OPERATOR

# The agents are registered.
pytestmark = pytest.mark.usefixtures("store")

DAY = 24 * 3600 * 1_000_000


@pytest.fixture
async def maintenance(database: Database) -> AsyncIterator[Maintenance]:
    maintenance = Maintenance(database, 30)
    yield maintenance
    async with asyncio.timeout(10):
        await maintenance.close()


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def change(database: Database, statement: str, *values: Any) -> Any:
    return database.write(lambda db: db.execute(statement, values).rowcount)


async def say(database: Database, body: str, *, days: int, done: bool = True) -> int:
    """Store a message that was sent and acknowledged so many days ago."""
    message_id, _ = await MessageStore(database).append(Draft("alice", "bob", "message", body))
    at = now() - days * DAY
    await change(
        database,
        "UPDATE message SET queued = ?, acknowledged = ? WHERE id = ?",
        at,
        at if done else None,
        message_id,
    )
    return message_id


async def found(database: Database, **wanted: Any) -> list[int]:
    listed = await History(database, frozenset).list_messages(THE_OPERATOR, wanted, 1000)
    return [message.id for message in listed]


async def test_only_finished_and_old_rows_are_deleted(
    database: Database, maintenance: Maintenance
) -> None:
    old = [await say(database, f"word {i}", days=31) for i in range(retention.BATCH * 2 + 5)]
    unread = await say(database, "word unread", days=400, done=False)
    parked = await say(database, "word dead", days=400, done=False)
    dropped = await say(database, "word dropped", days=32)
    await change(database, "UPDATE message SET parked = 1 WHERE id IN (?, ?)", parked, dropped)
    late = await say(database, "word late", days=40)
    await change(database, "UPDATE message SET acknowledged = ? WHERE id = ?", now(), late)
    new = await say(database, "word new", days=29)
    resolved = [await ask(database, "alice", "bob", f"which word {i}?") for i in range(3)]
    for number, days, state in zip(
        resolved, (31, 29, 31), ("answered", "expired", "open"), strict=True
    ):
        await change(
            database,
            "UPDATE question SET state = ?, resolved = ? WHERE id = ?",
            state,
            now() - days * DAY if state != "open" else None,
            number,
        )
    for days, state in ((31, "delivered"), (31, "cancelled"), (1, "delivered"), (31, "pending")):
        await change(
            database,
            "INSERT INTO reminder (owner, body, file, created, due, state, resolved) "
            "VALUES ('alice', 'x', '', 1, 1, ?, ?)",
            state,
            None if state == "pending" else now() - days * DAY,
        )
    assert await maintenance.vacuum() == len(old) + 1 + 1 + 2
    left = [unread, parked, late, new]
    assert await found(database) == await found(database, text="word") == left
    rows = await database.read(
        lambda db: [
            db.execute("SELECT id FROM body ORDER BY id").fetchall(),
            db.execute(
                "SELECT rowid FROM message_search WHERE message_search MATCH 'word'"
            ).fetchall(),
            db.execute(
                "SELECT rowid FROM question_search WHERE question_search MATCH 'word'"
            ).fetchall(),
            db.execute("SELECT id FROM question").fetchall(),
            db.execute("SELECT id FROM reminder").fetchall(),
        ]
    )
    assert [[row[0] for row in table] for table in rows] == [
        left,
        left,
        resolved[1:],
        resolved[1:],
        [3, 4],
    ]
    # The indexes have the same rows left as the tables.
    for table in ("message_search", "question_search"):
        await change(database, f"INSERT INTO {table} ({table}, rank) VALUES ('integrity-check', 1)")
    assert await maintenance.vacuum() == 0


async def test_large_texts_go_in_smaller_pieces(
    database: Database, maintenance: Maintenance
) -> None:
    for _ in range(3):
        await say(database, "many words " * (retention.BATCH_BYTES // 8), days=31)
    ids = await database.read(lambda db: retention.old_messages(db, after=0, cutoff=now()))
    assert await database.write(lambda db: retention.remove_messages(db, ids)) == 1
    assert await maintenance.vacuum() == 2


async def test_two_at_once_are_one(database: Database, maintenance: Maintenance) -> None:
    for i in range(100):
        await say(database, f"{i}", days=31)
    both = await asyncio.gather(maintenance.vacuum(), maintenance.vacuum())
    assert tuple(both) == (100, 100)


async def test_a_cancelled_caller_does_not_stop_a_vacuum(
    database: Database, maintenance: Maintenance
) -> None:
    for i in range(100):
        await say(database, f"{i}", days=31)
    first = asyncio.create_task(maintenance.vacuum())
    second = asyncio.create_task(maintenance.vacuum())
    await asyncio.sleep(0)
    first.cancel()
    assert await second == 100
    assert first.cancelled()


async def test_a_stop_ends_it(database: Database, maintenance: Maintenance) -> None:
    for i in range(100):
        await say(database, f"{i}", days=31)
    vacuum = asyncio.create_task(maintenance.vacuum())
    await asyncio.sleep(0)
    await maintenance.close()
    with pytest.raises(Stopping):
        await vacuum


async def test_a_send_in_between_waits_for_little(
    store: MessageStore, database: Database, maintenance: Maintenance
) -> None:
    for i in range(500):
        await say(database, f"{i}", days=31)
    vacuum = asyncio.create_task(maintenance.vacuum())
    sent = 0
    while not vacuum.done():
        await store.append(Draft("alice", "bob", "message", "meanwhile"))
        sent += 1
    assert await vacuum == 500
    assert sent >= 5, "each piece of work lets others through"


async def test_a_backup_is_whole_while_it_is_written_to(
    store: MessageStore, database: Database, maintenance: Maintenance
) -> None:
    for i in range(300):
        await say(database, f"word {i} " * 50, days=1)
    copying = asyncio.create_task(maintenance.backup("one.sqlite"))
    sent = 0
    while not copying.done():
        await store.append(Draft("alice", "bob", "message", "meanwhile"))
        sent += 1
    path = Path(await copying)
    assert path == database.path.parent / "backups" / "one.sqlite"
    assert [p.name for p in path.parent.iterdir()] == ["one.sqlite"]
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)
    schema.check(path)
    with closing(sqlite3.connect(path)) as db:
        (count,) = db.execute("SELECT count(*) FROM message").fetchone()
        assert 300 <= count <= 300 + sent
        matching = "SELECT count(*) FROM message_search WHERE message_search MATCH 'word'"
        assert db.execute(matching).fetchone() == (300,)
        assert db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'message'").fetchone() == (
            count,
        )
    with pytest.raises(AlreadyExists, match="already exists, and is not overwritten"):
        await maintenance.backup("one.sqlite")


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "/etc/x",
        "a/b",
        "../x",
        ".hidden",
        "x.part",
        "x.part.sqlite",
        "a\0",
        "x" * 200,
        "ü",
    ],
)
async def test_only_plain_names(maintenance: Maintenance, name: str) -> None:
    with pytest.raises(
        InvalidArgument, match=r"is not a valid name for a backup in .*: use letters"
    ):
        await maintenance.backup(name)


async def test_a_failed_backup_leaves_nothing(
    maintenance: Maintenance, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("services.broker.maintenance.backup.sync", full)
    with pytest.raises(
        Unavailable,
        match=r"x could not be written: .*No space left on device; it was removed",
    ):
        await maintenance.backup("x")
    assert list((path.parent / "backups").iterdir()) == []


async def test_a_stop_ends_a_backup(
    database: Database, maintenance: Maintenance, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, stopped = threading.Event(), threading.Event()
    connect = sqlite3.connect

    def slowly(*arguments: Any, **options: Any) -> sqlite3.Connection:
        begun.set()
        stopped.wait(5)
        made: sqlite3.Connection = connect(*arguments, **options)
        return made

    monkeypatch.setattr(sqlite3, "connect", slowly)
    copying = asyncio.create_task(maintenance.backup("x"))
    await asyncio.to_thread(begun.wait, 5)
    closing = asyncio.create_task(maintenance.close())
    await asyncio.sleep(0)
    stopped.set()
    with pytest.raises(Stopping):
        await copying
    await closing
    assert list((database.path.parent / "backups").iterdir()) == []


async def test_unfinished_backups_of_a_killed_broker_are_removed(
    database: Database, path: Path
) -> None:
    directory = path.parent / "backups"
    directory.mkdir()
    (directory / "x.sqlite.part").write_bytes(b"half")
    (directory / "restore.part-wal").write_bytes(b"half")
    (directory / "whole.sqlite").write_bytes(b"whole")
    Maintenance(database, 30)
    assert [p.name for p in directory.iterdir()] == ["whole.sqlite"]
