"""A store that cannot be used is refused in one sentence, and left as it was."""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from services.broker import schema
from services.broker.database import Database
from services.broker.message import Draft
from services.broker.store import Store
from services.broker.tests.test_store import hand_out
from wire.errors import CorruptStore


def files(path: Path) -> dict[str, tuple[bytes, int]]:
    return {
        p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in path.parent.iterdir() if p.is_file()
    }


async def filled(path: Path) -> None:
    database = Database.open(path)
    store = Store(database)
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
        db.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    db.close()
    for side in ("-wal", "-shm"):
        path.with_name(path.name + side).unlink(missing_ok=True)


def foreign_owner(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    os.chown(path, 4711, -1)


def a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (scribble, "is damaged"),
        (cut, "is damaged"),
        (text, "it is no sqlite file"),
        (foreign, "a sqlite file of something else"),
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
    store = Store(database)
    await store.append(Draft("operator", "alice", "message", "only in the log yet"))
    crashed = path.with_name("crashed.sqlite")
    for suffix in ("", "-wal"):
        source = path.with_name(path.name + suffix)
        crashed.with_name(crashed.name + suffix).write_bytes(source.read_bytes())
    await database.close()
    copy = Database.open(crashed)
    again = Store(copy)
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
    store = Store(database)
    await store.register("alice")
    await database.close()


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorruptStore, match="nowhere of the message store does not exist"):
        schema.connect(tmp_path / "nowhere" / "broker.sqlite")


def test_it_promises_durability(path: Path) -> None:
    db = schema.connect(path)
    assert db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    db.close()


STORES = sorted((Path(__file__).with_name("stores")).glob("*.sql"))


def load(path: Path, dump: Path) -> None:
    db = sqlite3.connect(path)
    db.executescript(dump.read_text())
    db.close()


@pytest.mark.parametrize("dump", STORES, ids=lambda dump: dump.stem)
async def test_a_store_of_each_earlier_version_is_migrated(path: Path, dump: Path) -> None:
    """What 1.sql holds is described in it; later versions hold the same."""
    load(path, dump)
    database = Database.open(path)
    store = Store(database)
    [handed] = await hand_out(store, "bob", 10, ())
    assert (handed.id, handed.redeliveries, handed.body) == (2, 1, "six times seven")
    [answer, crash] = await hand_out(store, "manager", 10, ())
    assert (answer.redeliveries, answer.in_reply_to) == (2, 2)
    assert answer.body == "42 \N{EN DASH} or häßlich \N{PILE OF POO}"
    assert (crash.kind, crash.redeliveries) == ("container-crash", 0)
    known, new = await store.append(
        Draft("operator", "manager", "message", "again", dedupe_key="first")
    )
    assert (known, new) == (1, False)
    found = await database.read(
        lambda db: db.execute(
            "SELECT rowid FROM message_search WHERE message_search MATCH 'seven' ORDER BY rowid"
        ).fetchall()
    )
    assert found == [(1,), (2,)]
    await database.close()


def test_every_earlier_version_has_a_store_to_try() -> None:
    assert [dump.stem for dump in STORES] == [str(v) for v in range(1, schema.VERSION)]
