import sqlite3
from collections.abc import Collection
from functools import partial
from pathlib import Path

import pytest

from services.broker.messages.message import Draft
from services.broker.messages.rows import PAGE_BYTES
from services.broker.messages.store import MessageStore
from services.broker.queries import pages
from services.broker.queries.history import MESSAGE_FILTER
from services.broker.storage.database import Database
from wire.errors import NotFound, Unavailable
from wire.records.broker import Message, MessageFilter, MessageState


def draft(body: str = "hello", to: str = "bob", sender: str = "alice", **more: object) -> Draft:
    return Draft(sender, to, "message", body, **more)  # type: ignore[arg-type]


async def hand_out(
    store: MessageStore, to: str, limit: int, without: Collection[int]
) -> list[Message]:
    return (await store.hand_out(to, limit, without, tries=6, invocation="")).messages


async def page(
    database: Database,
    wanted: MessageFilter,
    limit: int,
    *,
    party: str | None = None,
    leased: Collection[int] = (),
) -> list[Message]:
    read = partial(pages.messages, wanted=wanted, limit=limit, party=party, leased=leased)
    return await database.read(read)


async def everything(database: Database, **wanted: object) -> list[int]:
    found = await page(database, MESSAGE_FILTER.parse(wanted), 1000)
    return [message.id for message in found]


async def test_a_message_survives(path: Path) -> None:
    database = Database.open(path)
    store = MessageStore(database)
    await store.register("bob")
    message_id, new = await store.append(draft("häßlich \N{PILE OF POO}\n", urgent=True))
    assert new
    await database.close()
    database = Database.open(path)
    store = MessageStore(database)
    [message] = await hand_out(store, "bob", 10, ())
    await database.close()
    assert (message.id, message.sender, message.recipient) == (message_id, "alice", "bob")
    assert message.body == "häßlich \N{PILE OF POO}\n"
    assert message.urgent
    assert (message.redeliveries, message.in_reply_to) == (0, 0)
    assert message.state is MessageState.LEASED


async def test_oldest_first_and_a_redelivered_one_before_newer_ones(store: MessageStore) -> None:
    ids = [(await store.append(draft(str(i))))[0] for i in range(5)]
    assert [m.id for m in await hand_out(store, "bob", 2, ())] == ids[:2]
    again = await hand_out(store, "bob", 3, {ids[1]})
    assert [(m.id, m.redeliveries) for m in again] == [(ids[0], 1), (ids[2], 0), (ids[3], 0)]


async def test_a_dedupe_key_belongs_to_its_sender(store: MessageStore, database: Database) -> None:
    first, _ = await store.append(draft(dedupe_key="k"))
    assert await store.append(draft("other", dedupe_key="k")) == (first, [])
    other, [change] = await store.append(draft(sender="manager", dedupe_key="k"))
    assert (change.id, change.state, change.sender) == (other, MessageState.QUEUED, "manager")
    assert other != first
    assert await everything(database) == [first, other]


async def test_a_repeated_send_is_answered_even_when_the_recipient_has_gone(
    store: MessageStore,
) -> None:
    first, _ = await store.append(draft(dedupe_key="k"))
    await store.unregister("bob")
    assert await store.append(draft(dedupe_key="k")) == (first, [])


async def test_only_registered_agents_get_messages_and_they_stay(store: MessageStore) -> None:
    message_id, _ = await store.append(draft())
    await store.unregister("bob")
    with pytest.raises(NotFound, match="There is no agent 'bob'; `hivectl list`"):
        await store.append(draft())
    with pytest.raises(NotFound):
        await hand_out(store, "bob", 1, ())
    with pytest.raises(NotFound):
        await store.unregister("bob")
    await store.register("bob")
    assert [m.id for m in await hand_out(store, "bob", 10, ())] == [message_id]


async def test_a_reply_is_to_a_message_sent_or_received(store: MessageStore) -> None:
    known, _ = await store.append(draft())
    await store.append(draft(sender="bob", to="alice", in_reply_to=known))
    with pytest.raises(NotFound, match=f"no message {known} that manager has sent"):
        await store.append(draft(sender="manager", in_reply_to=known))


async def test_acknowledge_returns_the_outcome_of_each_id(store: MessageStore) -> None:
    ids = [(await store.append(draft()))[0] for _ in range(3)]
    others, _ = await store.append(draft(to="alice"))
    await hand_out(store, "bob", 1, ())
    outcome = await store.acknowledge("bob", [*ids, others, 2**64 - 1], unreceived=False)
    assert [(change.id, change.state) for change in outcome.done] == [
        (ids[0], MessageState.ACKNOWLEDGED)
    ]
    assert outcome.unreceived == ids[1:]
    assert outcome.unknown == [others, 2**64 - 1]
    again = await store.acknowledge("bob", ids, unreceived=True)
    assert [change.id for change in again.done] == ids[1:]
    assert not again.unreceived
    assert await hand_out(store, "bob", 10, ()) == []


async def test_answers_are_bounded_in_bytes(store: MessageStore, database: Database) -> None:
    for _ in range(6):
        await store.append(draft("x" * (PAGE_BYTES // 4)))
    assert len(await hand_out(store, "bob", 100, ())) == 4
    found = await page(database, MessageFilter(), 100, party=None, leased=())
    assert [m.id for m in found] == [3, 4, 5, 6]
    await store.append(draft("y" * (PAGE_BYTES + 1)))
    assert len(await page(database, MessageFilter(), 100, party=None, leased=())) == 1


async def test_filters(store: MessageStore, database: Database) -> None:
    a = (await store.append(draft()))[0]
    b = (await store.append(draft(to="manager")))[0]
    c = (await store.append(Draft("system", "manager", "spawned", "")))[0]
    d = (await store.append(draft(sender="bob", to="operator")))[0]
    await hand_out(store, "bob", 1, ())
    await store.acknowledge("bob", [a], unreceived=False)
    assert await everything(database) == [a, b, c, d]
    assert await everything(database, to="manager") == [b, c]
    assert await everything(database, **{"from": "bob"}) == [d]
    assert await everything(database, kind="spawned") == [c]
    assert await everything(database, after=a, before=d) == [b, c]
    assert await everything(database, after=2**64 - 1) == []
    assert await everything(database, before=2**64 - 1, to="operator") == [d]
    assert await everything(database, state=MessageState.ACKNOWLEDGED) == [a]
    queued = await page(
        database, MessageFilter(state=MessageState.QUEUED), 9, party=None, leased={b}
    )
    assert [m.id for m in queued] == [c, d]
    leased = await page(
        database, MessageFilter(state=MessageState.LEASED), 9, party=None, leased={b}
    )
    assert [(m.id, m.state) for m in leased] == [(b, MessageState.LEASED)]
    bobs = await page(database, MessageFilter(), 9, party="bob", leased=())
    assert [m.id for m in bobs] == [a, d]
    assert [m.id for m in await page(database, MessageFilter(), 1, party="bob", leased=())] == [d]
    assert await page(database, MessageFilter(recipient="manager"), 9, party="bob", leased=()) == []


async def test_a_full_disk_refuses_and_goes_on(store: MessageStore, database: Database) -> None:
    def fill(db: sqlite3.Connection) -> None:
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        db.execute(f"PRAGMA max_page_count = {pages + 3}")

    def empty(db: sqlite3.Connection) -> None:
        db.execute("PRAGMA max_page_count = 1000000")

    await database.write(fill)
    with pytest.raises(Unavailable, match=r"database or disk is full; nothing was changed"):
        await store.append(draft("x" * 100_000))
    small, _ = await store.append(draft("small"))
    await database.write(empty)
    large, _ = await store.append(draft("x" * 100_000))
    assert await everything(database) == [small, large]
