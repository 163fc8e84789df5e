"""What the manager is told, and when."""

import asyncio
import contextlib

import pytest

from services.approvals import teller
from services.approvals.tests.room import Room, spawn
from wire.errors import HiveError, Internal, LimitExceeded, NotFound, Unavailable


async def test_what_the_broker_did_not_take_is_owed_over_a_restart(room: Room) -> None:
    number = await spawn(room)
    room.broker.error = Unavailable("Nobody owns the name.")
    await room.do(room.approvals.deny(number, "no"))
    assert room.broker.asked
    room.broker.error = None
    await room.start()
    await room.rest()
    assert set(room.broker.told) == {"approval-1"}
    assert room.store.untold() == []


@pytest.mark.parametrize("error", [Unavailable("away"), Internal("a bug")])
async def test_a_broker_that_comes_back_hears_what_it_missed(room: Room, error: HiveError) -> None:
    number = await spawn(room)
    room.broker.error = error
    await room.do(room.approvals.deny(number, "no"))
    room.broker.error = None
    room.carrier.neighbour_changed()
    await room.rest()
    assert set(room.broker.told) == {"approval-1"}


async def test_without_a_manager_nobody_is_owed_anything(room: Room) -> None:
    number = await spawn(room, "manager")
    room.broker.error = NotFound("There is no agent manager.")
    await room.do(room.approvals.deny(number, ""))
    assert room.store.untold() == []


async def test_what_was_too_much_for_the_broker_is_told_later(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teller, "TOO_MUCH", 0.01)
    number = await spawn(room)
    await room.do(room.approvals.deny(number, "no"))
    room.store._db.execute("UPDATE approval SET told = 0")
    room.broker.told.clear()
    told = asyncio.Event()
    tell = room.broker.tell_manager

    async def refuse_once(body: str, key: str) -> None:
        if not told.is_set():
            told.set()
            raise LimitExceeded("Try again in 1 s.")
        await tell(body, key)
        done.set()

    done = asyncio.Event()
    monkeypatch.setattr(room.broker, "tell_manager", refuse_once)
    room.carrier.neighbour_changed()
    async with asyncio.timeout(5):
        running = asyncio.create_task(room.carrier.run())
        await done.wait()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
