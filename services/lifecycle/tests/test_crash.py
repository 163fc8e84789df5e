"""Ends of containers, and the messages about them."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from services.lifecycle.tests.house import House


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = House(tmp_path)
    await house.open()
    yield house
    await house.close()


async def test_a_poweroff_from_the_inside_is_told(house: House) -> None:
    await house.spawn("alice")
    house.backend.set("alice", "deactivating")
    await house.settle()
    assert not house.diary.crashes, "the cause is not known before it is over"
    house.backend.set("alice", "inactive")
    await house.settle()
    assert [c.clean for c in house.diary.crashes] == [True]
    assert house.record("alice").enabled
    assert house.backend.calls[-1] == ("stop_endpoint", "alice"), "its endpoint is left behind"


async def test_a_stopping_host_is_no_crash(house: House) -> None:
    await house.spawn("alice")
    house.backend.stopping = True
    house.backend.set("alice", "inactive")
    await house.settle()
    assert not house.diary.crashes


async def test_giving_up_is_told_and_passing_through_failed_is_not(house: House) -> None:
    await house.spawn("alice")
    house.backend.set("alice", "failed", result="exit-code", code=1, status=1)
    house.backend.set("alice", "activating")
    await house.settle()
    # The container failed during its start; systemd starts it again before lifecycle asks.
    house.backend.tell("alice", house.backend.units["alice"].__class__(active="failed"))
    await house.settle()
    assert [c.gave_up for c in house.diary.crashes] == [False]
    house.backend.set("alice", "inactive")
    house.backend.set("alice", "failed")
    await house.settle()
    assert [c.gave_up for c in house.diary.crashes] == [False, True]
    assert (await house.told(4))[1:] == ["container-crash"] * 3
    assert len({n.dedupe_key for n in house.broker.sent}) == 4
    given_up = house.broker.sent[2:]
    assert [n.recipient for n in given_up] == ["manager", "operator"]
    for notice in given_up:
        assert "does not come up again" in notice.body
        assert notice.body.count("\n  alice line ") == 20


async def test_a_killed_nspawn_that_is_started_again_has_not_given_up(house: House) -> None:
    await house.spawn("alice")
    # systemd first stops the remaining processes, then passes through `failed`.
    house.backend.set("alice", "deactivating", result="signal", code=2, status=9)
    await house.settle()
    killed = house.backend.units["alice"]
    house.backend.units["alice"] = replace(killed, active="activating")
    house.backend.tell("alice", replace(killed, active="failed"))
    await house.settle()
    assert [c.gave_up for c in house.diary.crashes] == [False]


async def test_a_restart_that_takes_too_long_is_the_last_one_and_told(house: House) -> None:
    await house.spawn("alice")
    house.backend.set("alice", "failed", result="exit-code", code=1, status=1)
    house.backend.set("alice", "activating", result="success", code=0, status=0)
    await house.settle()
    house.backend.set("alice", "deactivating", result="timeout")
    await house.settle()
    assert ("stop_restarting", "alice") in house.backend.calls
    assert [c.gave_up for c in house.diary.crashes] == [False, True]
    assert "does not come up again (result timeout)" in house.diary.crashes[1].sentence


async def test_a_container_that_takes_too_long_to_stop_is_started_again(house: House) -> None:
    await house.spawn("alice")
    house.backend.set("alice", "deactivating", result="timeout")
    await house.settle()
    assert ("stop_restarting", "alice") not in house.backend.calls
