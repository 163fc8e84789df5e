"""Falling asleep, waking, and both across restarts of lifecycle and of the host."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.config import AgentSettings, LifecycleConfig
from services.lifecycle.agents.agent import UnitStatus
from services.lifecycle.agents.record import Phase
from services.lifecycle.jobs.job import Job
from services.lifecycle.tests.room import DONE, Room
from wire.errors import Conflict, Unavailable
from wire.principal import agent
from wire.records.broker import HoldsChanged
from wire.records.lifecycle import AgentState, JobResult, JobVerb, Report

LONG = 3600
STAYS = "stays awake: it is not idle, or messages wait for it"


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    """A room in which alice runs. Idle agents fall asleep only in `fall`."""
    room = Room(tmp_path)
    room.settings = LifecycleConfig(sleep_after=LONG, create_manager=False)
    await room.open()
    await room.spawn("alice")
    yield room
    await room.close()


def report(room: Room, turn: str) -> None:
    room.harnesses.report(agent("alice"), "alice", Report(turn_state=turn))


def fall(room: Room) -> Job:
    """Let alice's time pass; return the job that puts her to sleep."""
    auto_sleep = room.parts.auto_sleep
    assert auto_sleep.next_check is not None
    auto_sleep.sleep_due(auto_sleep.due["alice"])
    job = room.jobs.of("alice")
    assert job
    return job


async def ends(room: Room, verb: JobVerb) -> tuple[JobResult, str]:
    """Wait for the end of alice's job `verb`."""
    job = room.jobs.of("alice")
    assert job
    assert job.verb is verb
    return await room.diary.end_of(job)


async def asleep(room: Room) -> None:
    report(room, "idle")
    assert await room.diary.end_of(fall(room)) == DONE
    assert room.state("alice") is AgentState.SLEEPING


async def awake(room: Room) -> None:
    await room.until(lambda: room.state("alice") is AgentState.RUNNING)
    assert not room.record("alice").asleep


async def test_who_is_idle_long_enough_falls_asleep(room: Room) -> None:
    await asleep(room)
    record = room.record("alice")
    assert (record.asleep, record.enabled) == (True, True)
    assert room.backend.units["alice"].active == "inactive"
    assert not room.diary.crashes
    assert room.parts.auto_sleep.next_check is None


async def test_the_time_is_the_configurations(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.settings = LifecycleConfig(sleep_after=1, create_manager=False)
    await room.open()
    await room.spawn("alice")
    began = asyncio.get_running_loop().time()
    report(room, "idle")
    await room.until(lambda: room.state("alice") is AgentState.SLEEPING)
    assert asyncio.get_running_loop().time() - began >= 1
    await room.close()


def test_an_agent_may_have_its_own_time() -> None:
    config = LifecycleConfig(sleep_after=60, agents={"bob": AgentSettings(sleep_after=0)})
    assert (config.sleeps_after("alice"), config.sleeps_after("bob")) == (60, 0)
    assert LifecycleConfig().sleeps_after("alice") == 0


async def test_nobody_falls_asleep_unless_it_is_set(tmp_path: Path) -> None:
    room = Room(tmp_path)
    await room.open()
    await room.spawn("alice")
    report(room, "idle")
    assert room.parts.auto_sleep.next_check is None
    await room.close()


async def test_a_held_agent_that_is_idle_is_counted(room: Room) -> None:
    report(room, "thinking")
    room.broker.holds_changed(HoldsChanged("alice", "operator", "wait", 5))
    assert room.parts.auto_sleep.next_check is None
    report(room, "idle")
    assert await room.diary.end_of(fall(room)) == DONE
    assert room.state("alice") is AgentState.SLEEPING


@pytest.mark.parametrize("turn", ["thinking", "error", "needs-login"])
async def test_only_who_is_idle_is_counted(room: Room, turn: str) -> None:
    report(room, "idle")
    assert room.parts.auto_sleep.next_check
    report(room, turn)
    assert room.parts.auto_sleep.next_check is None


async def test_the_timer_is_for_who_is_due_first(room: Room) -> None:
    await room.spawn("bob")
    report(room, "idle")
    room.harnesses.report(agent("bob"), "bob", Report(turn_state="idle"))
    auto_sleep = room.parts.auto_sleep
    assert auto_sleep.next_check == auto_sleep.due["alice"] <= auto_sleep.due["bob"]
    report(room, "thinking")
    assert auto_sleep.next_check == auto_sleep.due["bob"]


async def test_for_whom_a_message_waits_stays_awake_and_is_tried_again(room: Room) -> None:
    report(room, "idle")
    room.broker.write("alice")
    assert await room.diary.end_of(fall(room)) == (JobResult.DONE, STAYS)
    assert room.state("alice") is AgentState.RUNNING
    assert ("stop", "alice") not in room.backend.calls
    room.broker.mail.clear()
    assert await room.diary.end_of(fall(room)) == DONE
    assert room.state("alice") is AgentState.SLEEPING


async def test_a_turn_that_begins_while_the_broker_is_asked_goes_on(room: Room) -> None:
    report(room, "idle")
    room.broker.gate.clear()
    job = fall(room)
    await asyncio.sleep(0)
    report(room, "thinking")
    room.broker.gate.set()
    assert await room.diary.end_of(job) == (JobResult.DONE, STAYS)
    assert room.state("alice") is AgentState.RUNNING


async def test_who_cannot_be_asked_about_stays_awake(room: Room) -> None:
    report(room, "idle")
    room.broker.error = Unavailable("Nobody owns the name.")
    assert await room.diary.end_of(fall(room)) == (JobResult.FAILED, "Nobody owns the name.")
    assert (room.state("alice"), room.record("alice").asleep) == (AgentState.RUNNING, False)


async def test_a_message_wakes_it(room: Room) -> None:
    await asleep(room)
    room.broker.write("alice")
    assert await ends(room, JobVerb.START) == DONE
    await awake(room)


async def half_asleep(room: Room) -> Job:
    """Have alice fall asleep until her container is asked to stop; it stops when the gate opens."""
    report(room, "idle")
    room.backend.gate.clear()
    job = fall(room)
    await room.until(lambda: ("stop", "alice") in room.backend.calls)
    return job


async def test_a_message_that_comes_while_it_falls_asleep_wakes_it(room: Room) -> None:
    job = await half_asleep(room)
    room.broker.mail.clear()  # only told, never found by asking
    room.broker.heard["alice"]()
    room.backend.gate.set()
    assert await room.diary.end_of(job) == DONE
    await awake(room)


async def test_a_lifecycle_that_stops_leaves_the_waking_to_the_next(room: Room) -> None:
    await half_asleep(room)
    room.broker.write("alice")
    closing = asyncio.create_task(room.lifecycle.stop())
    await asyncio.sleep(0)
    room.backend.gate.set()
    await closing
    assert ("job", JobVerb.START, "alice") not in room.diary.events, "nobody waits for this job"
    assert not room.store.jobs()
    room.store.close()
    await room.open()
    await awake(room)


async def test_what_is_given_back_as_it_ends_wakes_it(room: Room) -> None:
    job = await half_asleep(room)
    room.broker.mail.add("alice")  # found by asking, never told
    room.backend.gate.set()
    assert await room.diary.end_of(job) == DONE
    await awake(room)


async def test_what_was_queued_while_lifecycle_was_down_wakes_it(room: Room) -> None:
    await asleep(room)
    await room.close()
    room.broker.heard.clear()
    await room.open()
    assert room.state("alice") is AgentState.SLEEPING
    await room.close()
    room.broker.mail.add("alice")
    await room.open()
    await awake(room)


async def test_the_broker_is_asked_again_when_it_is_back(room: Room) -> None:
    await asleep(room)
    room.broker.go_down()
    room.lifecycle.broker_appeared()
    async with asyncio.timeout(5):
        await room.broker.tried.wait()
    room.broker.error = None
    room.broker.mail.add("alice")
    room.lifecycle.broker_appeared()
    await awake(room)


async def test_who_is_stopped_is_not_woken(room: Room) -> None:
    await asleep(room)
    await room.order(JobVerb.STOP, "alice")
    assert room.state("alice") is AgentState.STOPPED
    room.broker.write("alice")
    assert not room.jobs.of("alice")
    await room.close()
    await room.open()
    assert room.state("alice") is AgentState.STOPPED


@pytest.mark.parametrize("verb", [JobVerb.START, JobVerb.RESTART])
async def test_who_is_started_is_awake(room: Room, verb: JobVerb) -> None:
    await asleep(room)
    await room.order(verb, "alice")
    await awake(room)


@pytest.mark.parametrize("verb", [JobVerb.REBUILD, JobVerb.UPDATE])
async def test_what_only_puts_it_right_lets_it_sleep(room: Room, verb: JobVerb) -> None:
    await asleep(room)
    await room.order(verb, "alice")
    assert room.state("alice") is AgentState.SLEEPING


async def test_who_was_started_past_lifecycle_is_awake(room: Room) -> None:
    await asleep(room)
    room.backend.come_up("alice")
    await room.settle()
    await awake(room)
    await asleep(room)
    await room.close()
    room.backend.come_up("alice")
    await room.open()
    await awake(room)


async def test_a_wake_that_fails_is_told(room: Room) -> None:
    await asleep(room)
    room.backend.fail["start"] = Conflict("It does not come up.")
    before = len(room.broker.sent)
    room.broker.write("alice")
    assert await ends(room, JobVerb.START) == (JobResult.FAILED, "It does not come up.")
    assert (await room.told(before + 2))[before:] == ["wake-failed", "wake-failed"]
    told = room.broker.sent[before:]
    assert {notice.recipient for notice in told} == {"manager", "operator"}
    assert all("It does not come up." in notice.body for notice in told)
    assert (room.state("alice"), room.record("alice").asleep) == (AgentState.STOPPED, False)


async def test_one_whose_wake_is_cancelled_sleeps_on(room: Room) -> None:
    await asleep(room)
    room.backend.gate.clear()
    job = room.orders.order(JobVerb.START, "alice")
    await asyncio.sleep(0)
    room.orders.cancel(job.number)
    room.backend.gate.set()
    assert (await room.diary.end_of(job))[0] is JobResult.CANCELLED
    assert (room.state("alice"), room.record("alice").asleep) == (AgentState.SLEEPING, True)


async def test_one_whose_container_does_not_stop_is_not_asleep(room: Room) -> None:
    report(room, "idle")
    room.backend.fail["stop"] = Conflict("It does not stop.")
    assert await room.diary.end_of(fall(room)) == (JobResult.FAILED, "It does not stop.")
    assert not room.record("alice").asleep
    del room.backend.fail["stop"]


async def test_who_is_destroyed_is_not_listened_for(room: Room) -> None:
    await asleep(room)
    assert "alice" in room.broker.heard
    assert await room.diary.end_of(room.orders.destroy("alice", False)) == DONE
    assert not room.broker.heard
    await room.spawn("alice")
    assert room.state("alice") is AgentState.RUNNING
    assert not room.record("alice").asleep


async def test_after_a_boot_of_the_host_all_are_as_they_were(room: Room) -> None:
    await room.spawn("bob")
    await room.spawn("carol")
    await room.order(JobVerb.STOP, "bob")
    await asleep(room)
    await room.close()
    room.backend.units = {name: UnitStatus() for name in room.backend.units}
    room.backend.boot_id = "boot-2"
    before = len(room.broker.sent)
    await room.open()
    job = room.jobs.of("carol")
    assert job
    assert await room.diary.end_of(job) == DONE
    states = {one.name: one.state for one in room.agents}
    assert states == {
        "alice": AgentState.SLEEPING, "bob": AgentState.STOPPED, "carol": AgentState.RUNNING,
    }  # fmt: skip
    assert not room.diary.crashes
    assert len(room.broker.sent) == before


async def test_the_manager_is_created_when_it_is_missing(tmp_path: Path) -> None:
    room = Room(tmp_path)
    room.settings = LifecycleConfig()
    await room.open()
    job = room.jobs.of("manager")
    assert job
    assert await room.diary.end_of(job) == DONE
    assert room.state("manager") is AgentState.RUNNING
    await room.order(JobVerb.STOP, "manager")
    await room.close()
    await room.open()
    assert room.state("manager") is AgentState.STOPPED
    assert await room.diary.end_of(room.orders.destroy("manager", False)) == DONE
    await room.close()
    await room.open()
    assert not list(room.agents), "what the operator destroyed was made again"
    assert room.record("manager").phase is Phase.KEPT
    await room.close()


async def test_a_spawn_of_the_manager_that_goes_on_is_enough(tmp_path: Path) -> None:
    room = Room(tmp_path)
    await room.open()
    room.store.add_job(Job("manager", JobVerb.SPAWN, ("opus",), {"model": "opus"}))
    await room.kill()
    room.settings = LifecycleConfig()
    await room.open()
    job = room.jobs.of("manager")
    assert job
    assert await room.diary.end_of(job) == DONE
    assert room.record("manager").model == "opus"
    await room.close()
