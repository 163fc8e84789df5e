"""The disk: the end of a request is there when the ledger says so, and nobody else waits for it."""

import asyncio
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from services.ledger.storage import database, disk
from services.ledger.tests.conftest import Room, turn
from wire.errors import LimitExceeded, Unavailable

LIMIT = 20.0


class Syncs:
    """The syncs of the log, which a test lets through."""

    def __init__(self) -> None:
        self.count = 0
        self.let = threading.Semaphore(0)
        self.begun = threading.Semaphore(0)
        self.error: OSError | None = None

    def sync(self, descriptor: int) -> None:
        assert Path(f"/proc/self/fd/{descriptor}").readlink().name == "ledger.sqlite-wal"
        self.begun.release()
        assert self.let.acquire(timeout=LIMIT)
        if self.error is not None:
            raise self.error
        self.count += 1


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Syncs]:
    made = Syncs()
    monkeypatch.setattr(os, "fdatasync", made.sync)
    yield made
    made.let.release(100)


def settle(room: Room, number: int) -> "asyncio.Task[None]":
    values = {"outcome": "done", "output_tokens": 5}
    return asyncio.create_task(room.requests.settle_on_disk("alice", number, values))


async def test_a_request_is_synced_once_and_only_its_end_waits(room: Room, syncs: Syncs) -> None:
    ending = settle(room, room.reserve())
    assert await asyncio.to_thread(syncs.begun.acquire, timeout=LIMIT)
    # The disk is slow: a request of another agent begins meanwhile, and what is used counts.
    room.reserve("bob")
    assert room.budget().spent_tokens == 5
    assert not ending.done()
    syncs.let.release()
    await ending
    assert syncs.count == 1


async def test_ends_that_wait_share_a_sync(room: Room, syncs: Syncs) -> None:
    first = settle(room, room.reserve())
    assert await asyncio.to_thread(syncs.begun.acquire, timeout=LIMIT)
    others = [settle(room, room.reserve()) for _ in range(20)]
    await asyncio.sleep(0)
    recording = asyncio.create_task(room.turns.record_on_disk("alice", turn()))
    await asyncio.sleep(0)
    syncs.let.release()
    await first
    # A commit during a sync is on the disk with the next sync.
    assert not any(task.done() for task in [*others, recording])
    syncs.let.release()
    await asyncio.gather(*others, recording)
    assert syncs.count == 2


async def test_a_caller_that_leaves_stops_no_sync(room: Room, syncs: Syncs) -> None:
    leaving, staying = settle(room, room.reserve()), settle(room, room.reserve())
    await asyncio.sleep(0)
    leaving.cancel()
    syncs.let.release(2)
    await staying


async def test_a_disk_that_fails_is_told(room: Room, syncs: Syncs) -> None:
    syncs.error = OSError(5, "Input/output error")
    number = room.reserve()
    ending = settle(room, number)
    syncs.let.release()
    with pytest.raises(Unavailable, match="Input/output error"):
        await ending
    syncs.error = None
    syncs.let.release()
    await settle(room, number)  # as its gateway does
    assert room.budget().spent_tokens == 5
    assert syncs.count == 1


async def test_a_stop_during_a_sync_waits_for_that_sync_alone(room: Room, syncs: Syncs) -> None:
    failed: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context))
    first = settle(room, room.reserve())
    assert await asyncio.to_thread(syncs.begun.acquire, timeout=LIMIT)
    second = settle(room, room.reserve())
    await asyncio.sleep(0)
    syncs.let.release()
    room.reopen()
    await first
    with pytest.raises(asyncio.CancelledError):
        await second
    assert not failed
    assert room.budget().spent_tokens == 10


async def test_the_log_stays_small(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "CHECKPOINT", 5)
    log = room.path.with_name("ledger.sqlite-wal")
    sizes = []
    for _ in range(60):
        await settle(room, room.reserve())
        sizes.append(log.stat().st_size)
    assert sizes[-1] == sizes[20], "the log grows, because nothing moves it into the file"


async def test_the_log_does_not_grow_without_end_though_nobody_waits(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent that is refused again and again makes commits that nobody syncs."""
    log = room.path.with_name("ledger.sqlite-wal")
    monkeypatch.setattr(database, "LOG_PAGES", 50)
    room.reopen()
    for number in range(500):
        with suppress(LimitExceeded):
            room.hosts.check("alice", f"host{number}.example", 443, "", gateway=True)
    assert log.stat().st_size < 100 * 4200
