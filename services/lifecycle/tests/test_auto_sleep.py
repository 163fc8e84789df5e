"""Falling asleep, waking, and both across restarts of lifecycle and of the host."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.config import AgentSettings, LifecycleConfig
from services.lifecycle.agents.agent import UnitStatus
from services.lifecycle.agents.record import Phase
from services.lifecycle.jobs.job import Job
from services.lifecycle.tests.house import DONE, House
from wire.errors import Conflict, Unavailable
from wire.principal import agent
from wire.records.lifecycle import AgentState, JobResult, JobVerb, Report

LONG = 3600
STAYS = "it stays awake: it is not idle, or messages wait for it"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """A house in which alice runs. Idle agents fall asleep only in `fall`."""
    house = House(tmp_path)
    house.settings = LifecycleConfig(sleep_after=LONG, create_manager=False)
    await house.open()
    await house.spawn("alice")
    yield house
    await house.close()


def report(house: House, turn: str) -> None:
    house.lifecycle.report(agent("alice"), "alice", Report(turn_state=turn))


def fall(house: House) -> Job:
    """Let alice's time pass; return the job that puts her to sleep."""
    auto_sleep = house.lifecycle.auto_sleep
    assert auto_sleep.next_check is not None
    auto_sleep.sleep_due(auto_sleep.due["alice"])
    job = house.lifecycle.jobs.of("alice")
    assert job
    return job


async def ends(house: House, verb: JobVerb) -> tuple[JobResult, str]:
    """Wait for the end of alice's job `verb`."""
    job = house.lifecycle.jobs.of("alice")
    assert job
    assert job.verb is verb
    return await house.diary.end_of(job)


async def asleep(house: House) -> None:
    report(house, "idle")
    assert await house.diary.end_of(fall(house)) == DONE
    assert house.state("alice") is AgentState.SLEEPING


async def awake(house: House) -> None:
    async with asyncio.timeout(5):
        while house.state("alice") is not AgentState.RUNNING:
            await house.diary.news()
    assert not house.record("alice").asleep


async def test_who_is_idle_long_enough_falls_asleep(house: House) -> None:
    await asleep(house)
    record = house.record("alice")
    assert (record.asleep, record.enabled) == (True, True)
    assert house.backend.units["alice"].active == "inactive"
    assert not house.diary.crashes
    assert house.lifecycle.auto_sleep.next_check is None


async def test_the_time_is_the_configurations(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.settings = LifecycleConfig(sleep_after=1, create_manager=False)
    await house.open()
    await house.spawn("alice")
    began = asyncio.get_running_loop().time()
    report(house, "idle")
    async with asyncio.timeout(30):
        while house.state("alice") is not AgentState.SLEEPING:
            await house.diary.news()
    assert asyncio.get_running_loop().time() - began >= 1
    await house.close()


def test_an_agent_may_have_its_own_time() -> None:
    config = LifecycleConfig(sleep_after=60, agents={"bob": AgentSettings(sleep_after=0)})
    assert (config.sleeps_after("alice"), config.sleeps_after("bob")) == (60, 0)
    assert LifecycleConfig().sleeps_after("alice") == 0


async def test_nobody_falls_asleep_unless_it_is_set(tmp_path: Path) -> None:
    house = House(tmp_path)
    await house.open()
    await house.spawn("alice")
    report(house, "idle")
    assert house.lifecycle.auto_sleep.next_check is None
    await house.close()


@pytest.mark.parametrize("turn", ["thinking", "error", "needs-login"])
async def test_only_who_is_idle_is_counted(house: House, turn: str) -> None:
    report(house, "idle")
    assert house.lifecycle.auto_sleep.next_check
    report(house, turn)
    assert house.lifecycle.auto_sleep.next_check is None


async def test_the_timer_is_for_who_is_due_first(house: House) -> None:
    await house.spawn("bob")
    report(house, "idle")
    house.lifecycle.report(agent("bob"), "bob", Report(turn_state="idle"))
    auto_sleep = house.lifecycle.auto_sleep
    assert auto_sleep.next_check == auto_sleep.due["alice"] <= auto_sleep.due["bob"]
    report(house, "thinking")
    assert auto_sleep.next_check == auto_sleep.due["bob"]


async def test_for_whom_a_message_waits_stays_awake_and_is_tried_again(house: House) -> None:
    report(house, "idle")
    house.broker.write("alice")
    assert await house.diary.end_of(fall(house)) == (JobResult.DONE, STAYS)
    assert house.state("alice") is AgentState.RUNNING
    assert ("stop", "alice") not in house.backend.calls
    house.broker.mail.clear()
    assert await house.diary.end_of(fall(house)) == DONE
    assert house.state("alice") is AgentState.SLEEPING


async def test_a_turn_that_begins_while_the_broker_is_asked_goes_on(house: House) -> None:
    report(house, "idle")
    house.broker.gate.clear()
    job = fall(house)
    await asyncio.sleep(0)
    report(house, "thinking")
    house.broker.gate.set()
    assert await house.diary.end_of(job) == (JobResult.DONE, STAYS)
    assert house.state("alice") is AgentState.RUNNING


async def test_who_cannot_be_asked_about_stays_awake(house: House) -> None:
    report(house, "idle")
    house.broker.error = Unavailable("Nobody owns the name.")
    assert await house.diary.end_of(fall(house)) == (JobResult.FAILED, "Nobody owns the name.")
    assert (house.state("alice"), house.record("alice").asleep) == (AgentState.RUNNING, False)


async def test_a_message_wakes_it(house: House) -> None:
    await asleep(house)
    house.broker.write("alice")
    assert await ends(house, JobVerb.START) == DONE
    await awake(house)


async def test_a_message_that_comes_while_it_falls_asleep_wakes_it(house: House) -> None:
    report(house, "idle")
    house.backend.gate.clear()
    job = fall(house)
    async with asyncio.timeout(5):
        while ("stop", "alice") not in house.backend.calls:
            await house.diary.news()
    house.broker.mail.clear()  # only told, never found by asking
    house.broker.heard["alice"]()
    house.backend.gate.set()
    assert await house.diary.end_of(job) == DONE
    await awake(house)


async def test_a_lifecycle_that_stops_leaves_the_waking_to_the_next(house: House) -> None:
    report(house, "idle")
    house.backend.gate.clear()
    fall(house)
    async with asyncio.timeout(5):
        while ("stop", "alice") not in house.backend.calls:
            await house.diary.news()
    house.broker.write("alice")
    closing = asyncio.create_task(house.lifecycle.stop())
    await asyncio.sleep(0)
    house.backend.gate.set()
    await closing
    assert ("job", JobVerb.START, "alice") not in house.diary.events, "nobody waits for this job"
    assert not house.store.jobs()
    house.store.close()
    await house.open()
    await awake(house)


async def test_what_is_given_back_as_it_ends_wakes_it(house: House) -> None:
    report(house, "idle")
    house.backend.gate.clear()
    job = fall(house)
    async with asyncio.timeout(5):
        while ("stop", "alice") not in house.backend.calls:
            await house.diary.news()
    house.broker.mail.add("alice")  # found by asking, never told
    house.backend.gate.set()
    assert await house.diary.end_of(job) == DONE
    await awake(house)


async def test_what_was_queued_while_lifecycle_was_down_wakes_it(house: House) -> None:
    await asleep(house)
    await house.close()
    house.broker.heard.clear()
    await house.open()
    assert house.state("alice") is AgentState.SLEEPING
    await house.close()
    house.broker.mail.add("alice")
    await house.open()
    await awake(house)


async def test_the_broker_is_asked_again_when_it_is_back(house: House) -> None:
    await asleep(house)
    house.broker.go_down()
    house.lifecycle.broker_appeared()
    async with asyncio.timeout(5):
        await house.broker.tried.wait()
    house.broker.error = None
    house.broker.mail.add("alice")
    house.lifecycle.broker_appeared()
    await awake(house)


async def test_who_is_stopped_is_not_woken(house: House) -> None:
    await asleep(house)
    await house.order(JobVerb.STOP, "alice")
    assert house.state("alice") is AgentState.STOPPED
    house.broker.write("alice")
    assert not house.lifecycle.jobs.of("alice")
    await house.close()
    await house.open()
    assert house.state("alice") is AgentState.STOPPED


@pytest.mark.parametrize("verb", [JobVerb.START, JobVerb.RESTART])
async def test_who_is_started_is_awake(house: House, verb: JobVerb) -> None:
    await asleep(house)
    await house.order(verb, "alice")
    await awake(house)


@pytest.mark.parametrize("verb", [JobVerb.REBUILD, JobVerb.UPDATE])
async def test_what_only_puts_it_right_lets_it_sleep(house: House, verb: JobVerb) -> None:
    await asleep(house)
    await house.order(verb, "alice")
    assert house.state("alice") is AgentState.SLEEPING


async def test_who_was_started_past_lifecycle_is_awake(house: House) -> None:
    await asleep(house)
    house.backend.come_up("alice")
    await house.settle()
    await awake(house)
    await asleep(house)
    await house.close()
    house.backend.come_up("alice")
    await house.open()
    await awake(house)


async def test_a_wake_that_fails_is_told(house: House) -> None:
    await asleep(house)
    house.backend.fail["start"] = Conflict("It does not come up.")
    before = len(house.broker.sent)
    house.broker.write("alice")
    assert await ends(house, JobVerb.START) == (JobResult.FAILED, "It does not come up.")
    assert (await house.told(before + 2))[before:] == ["wake-failed", "wake-failed"]
    told = house.broker.sent[before:]
    assert {notice.recipient for notice in told} == {"manager", "operator"}
    assert all("It does not come up." in notice.body for notice in told)
    assert (house.state("alice"), house.record("alice").asleep) == (AgentState.STOPPED, False)


async def test_one_whose_wake_is_cancelled_sleeps_on(house: House) -> None:
    await asleep(house)
    house.backend.gate.clear()
    job = house.lifecycle.order(JobVerb.START, "alice")
    await asyncio.sleep(0)
    house.lifecycle.cancel(job.number)
    house.backend.gate.set()
    assert (await house.diary.end_of(job))[0] is JobResult.CANCELLED
    assert (house.state("alice"), house.record("alice").asleep) == (AgentState.SLEEPING, True)


async def test_one_whose_container_does_not_stop_is_not_asleep(house: House) -> None:
    report(house, "idle")
    house.backend.fail["stop"] = Conflict("It does not stop.")
    assert await house.diary.end_of(fall(house)) == (JobResult.FAILED, "It does not stop.")
    assert not house.record("alice").asleep
    del house.backend.fail["stop"]


async def test_who_is_destroyed_is_not_listened_for(house: House) -> None:
    await asleep(house)
    assert "alice" in house.broker.heard
    assert await house.diary.end_of(house.lifecycle.destroy("alice", False)) == DONE
    assert not house.broker.heard
    await house.spawn("alice")
    assert house.state("alice") is AgentState.RUNNING
    assert not house.record("alice").asleep


async def test_after_a_boot_of_the_host_all_are_as_they_were(house: House) -> None:
    await house.spawn("bob")
    await house.spawn("carol")
    await house.order(JobVerb.STOP, "bob")
    await asleep(house)
    await house.close()
    house.backend.units = {name: UnitStatus() for name in house.backend.units}
    house.backend.boot_id = "boot-2"
    before = len(house.broker.sent)
    await house.open()
    job = house.lifecycle.jobs.of("carol")
    assert job
    assert await house.diary.end_of(job) == DONE
    states = {one.name: one.state for one in house.lifecycle.agents}
    assert states == {
        "alice": AgentState.SLEEPING, "bob": AgentState.STOPPED, "carol": AgentState.RUNNING,
    }  # fmt: skip
    assert not house.diary.crashes
    assert len(house.broker.sent) == before


async def test_the_manager_is_created_when_it_is_missing(tmp_path: Path) -> None:
    house = House(tmp_path)
    house.settings = LifecycleConfig()
    await house.open()
    job = house.lifecycle.jobs.of("manager")
    assert job
    assert await house.diary.end_of(job) == DONE
    assert house.state("manager") is AgentState.RUNNING
    await house.order(JobVerb.STOP, "manager")
    await house.close()
    await house.open()
    assert house.state("manager") is AgentState.STOPPED
    assert await house.diary.end_of(house.lifecycle.destroy("manager", False)) == DONE
    await house.close()
    await house.open()
    assert not list(house.lifecycle.agents), "what the operator destroyed was made again"
    assert house.record("manager").phase is Phase.KEPT
    await house.close()


async def test_a_spawn_of_the_manager_that_goes_on_is_enough(tmp_path: Path) -> None:
    house = House(tmp_path)
    await house.open()
    house.store.add_job(Job("manager", JobVerb.SPAWN, ("opus",), {"model": "opus"}))
    await house.kill()
    house.settings = LifecycleConfig()
    await house.open()
    job = house.lifecycle.jobs.of("manager")
    assert job
    assert await house.diary.end_of(job) == DONE
    assert house.record("manager").model == "opus"
    await house.close()
