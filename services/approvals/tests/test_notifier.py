"""The messages to the manager."""

import asyncio

import pytest

from services.approvals.tests.room import Room, spawn
from wire.errors import HiveError, Internal, LimitExceeded, NotFound, Unavailable
from wire.records.approvals import ApprovalState


async def test_an_undelivered_notice_survives_a_restart(room: Room) -> None:
    number = await spawn(room)
    room.broker.error = Unavailable("Nobody owns the name.")
    await room.do(room.no(number, "no"))
    assert room.broker.asked
    room.broker.error = None
    await room.start()
    await room.rest()
    assert set(room.broker.told) == {"approval-1"}
    assert room.store.unnotified() == []


@pytest.mark.parametrize("error", [Unavailable("away"), Internal("a bug")])
async def test_a_broker_that_comes_back_hears_what_it_missed(room: Room, error: HiveError) -> None:
    number = await spawn(room)
    room.broker.error = error
    await room.do(room.no(number, "no"))
    room.broker.error = None
    await room.notifier.deliverer.deliver()
    assert set(room.broker.told) == {"approval-1"}


async def test_without_a_manager_nobody_is_owed_anything(room: Room) -> None:
    number = await spawn(room, "manager")
    room.broker.error = NotFound("There is no agent manager.")
    await room.do(room.no(number, ""))
    assert room.store.unnotified() == []


async def test_a_change_wakes_the_deliverer_which_tries_again_after_a_limit(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.deliverer.LIMIT_RETRY", 0.01)
    room.broker.errors = [LimitExceeded("Try again in 1 s."), LimitExceeded("Try again in 1 s.")]
    number = await spawn(room)
    deliverer = room.notifier.deliverer
    deliverer.start()
    room.ledger.move(number, ApprovalState.DENIED)
    await room.controller.step()
    try:
        async with asyncio.timeout(5):
            await room.broker.arrived.wait()
    finally:
        await deliverer.stop()
    assert room.broker.asked == 3
    assert room.store.unnotified() == []
