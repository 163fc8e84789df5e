"""The holds of the broker, and the limit of attempts, as lifecycle hands them on."""

import asyncio

import pytest

from services.agentfile import AgentFile
from services.lifecycle.agents.agent import Agent
from services.lifecycle.agents.turn import now
from services.lifecycle.options import DEPLOY
from services.lifecycle.tests.room import DONE, Room
from wire.principal import agent
from wire.records.broker import Hold, HoldKind, HoldsChanged
from wire.records.lifecycle import AgentState, JobVerb, Report

COMMIT = "b" * 40
HOUR = 3_600_000_000


@pytest.fixture
async def room(room: Room) -> Room:
    await room.spawn("alice")
    room.harnesses.report(agent("alice"), "alice", Report(turn_state="idle"))
    return room


def alice(room: Room) -> Agent:
    [found] = room.agents
    return found


async def deploy(room: Room, **keys: object) -> None:
    room.backend.configurations[COMMIT] = AgentFile.model_validate(keys)
    job = room.orders.deploy("alice", COMMIT, DEPLOY.parse({}))
    assert await room.diary.end_of(job) == DONE
    room.harnesses.report(agent("alice"), "alice", Report(turn_state="idle"))


async def until_held(room: Room) -> None:
    await room.until(lambda: alice(room).hold is not None)


async def test_a_hold_is_shown_as_long_as_it_lasts(room: Room) -> None:
    since = now() + HOUR
    room.broker.holds_changed(HoldsChanged("alice", "loop", "she and bob thank", since))
    held = alice(room)
    assert (held.turn_state, held.turn_reason, held.turn_since) == (
        "held",
        "she and bob thank",
        since,
    )
    room.broker.holds_changed(HoldsChanged("alice", "", "", since + 1))
    assert (alice(room).turn_state, alice(room).turn_reason) == ("idle", "")
    room.broker.holds_changed(HoldsChanged("nobody", "loop", "x", 1))


async def test_holds_are_known_after_a_restart_of_lifecycle_or_of_the_broker(room: Room) -> None:
    room.broker.held = [Hold("alice", HoldKind.OPERATOR, "wait", 5)]
    await room.kill()
    await room.open()
    await until_held(room)
    assert alice(room).turn_state == "held"
    room.broker.held = []
    room.lifecycle.broker_appeared()
    await room.until(lambda: not alice(room).hold)


async def test_a_held_agent_is_not_woken_before_it_is_let_go(room: Room) -> None:
    await room.order(JobVerb.SLEEP, "alice")
    room.broker.held = [Hold("alice", HoldKind.OPERATOR, "wait", 5)]
    room.broker.holds_changed(HoldsChanged("alice", "operator", "wait", 5))
    room.broker.write("alice")
    for _ in range(20):
        await asyncio.sleep(0)
    assert room.jobs.of("alice") is None
    room.broker.held = []
    room.broker.holds_changed(HoldsChanged("alice", "", "", 6))
    await room.until(lambda: room.state("alice") is AgentState.RUNNING)


async def test_a_held_agent_falls_asleep_and_wakes_for_what_it_gets(room: Room) -> None:
    room.broker.held = [Hold("alice", HoldKind.OPERATOR, "wait", 5)]
    room.broker.holds_changed(HoldsChanged("alice", "operator", "wait", 5))
    room.broker.write("alice")
    await room.order(JobVerb.SLEEP, "alice")
    assert room.state("alice") == "sleeping"
    room.broker.urgent.add("alice")
    room.broker.write("alice")
    await room.until(lambda: room.state("alice") is AgentState.RUNNING)


@pytest.mark.parametrize("resumes", [True, False])
async def test_the_operator_is_asked_whether_it_goes_on_after_a_limit(
    room: Room, resumes: bool
) -> None:
    await deploy(room, resume_after_limit=resumes)
    room.harnesses.report(agent("alice"), "alice", Report(provider_limit_until=now() + HOUR))
    if resumes:
        await asyncio.sleep(0.05)
        assert room.broker.held == []
        return
    await until_held(room)
    [hold] = room.broker.held
    assert hold.text.startswith("its provider's usage limit ends at ")
    room.broker.held.clear()
    await room.kill()
    await room.open()
    room.harnesses.report(agent("alice"), "alice", Report(provider_limit_until=now() + HOUR))
    await asyncio.sleep(0.05)
    assert room.broker.held == [], "the operator let it go on meanwhile"


async def test_the_limit_of_attempts_is_told_to_the_broker(room: Room) -> None:
    assert room.broker.attempts["alice"] is None
    await deploy(room, max_attempts=3)
    assert room.broker.attempts["alice"] == 3
    room.broker.attempts.clear()
    room.lifecycle.broker_appeared()
    async with asyncio.timeout(5):
        while room.broker.attempts != {"alice": 3}:
            room.broker.arrived.clear()
            await room.broker.arrived.wait()
