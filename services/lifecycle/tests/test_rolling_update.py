"""Rolling updates: one agent after the other, each at rest, until the first failure."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.config import LifecycleConfig
from services.lifecycle.jobs.job import Job
from services.lifecycle.jobs.rolling_update import UPDATE_FAILED
from services.lifecycle.tests.house import DONE, House
from wire.errors import Unavailable
from wire.principal import agent
from wire.records.lifecycle import AgentState, JobVerb, Report

LATER = "it is at work, and is updated later"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """A house in which alice, bob and the manager run in containers of version 1."""
    house = House(tmp_path)
    await house.open()
    for name in ("manager", "alice", "bob"):
        await house.spawn(name)
    yield house
    await house.close()


async def upgrade(house: House) -> None:
    """Install version 2; no agent has reported to it yet."""
    await house.close()
    house.version = "2"
    await house.open()
    house.backend.calls.clear()


def report(house: House, name: str, turn: str = "idle") -> None:
    house.lifecycle.report(agent(name), name, Report(turn_state=turn))


def stale(house: House) -> list[str]:
    return [one.name for one in house.lifecycle.agents if one.stale]


def jobs(house: House) -> dict[str, JobVerb]:
    return {job.agent: job.verb for job in house.lifecycle.jobs.all()}


def job(house: House, name: str) -> Job:
    found = house.lifecycle.jobs.of(name)
    assert found
    assert found.verb is JobVerb.UPDATE
    return found


async def updated(house: House, name: str) -> None:
    """Wait until the running update of `name` is done."""
    assert (await house.diary.end_of(job(house, name)))[0] == "done"
    assert name not in stale(house)


def failures(house: House) -> list[tuple[str, str]]:
    told = [*house.broker.sent, *house.store.notices()]
    return [(n.recipient, n.body) for n in told if n.kind == UPDATE_FAILED]


async def test_one_after_the_other_and_the_manager_last(house: House) -> None:
    await house.spawn("zoe")
    await upgrade(house)
    assert jobs(house) == {}
    for name in ("manager", "bob", "alice", "zoe"):
        report(house, name, "thinking")
    assert jobs(house) == {}
    report(house, "bob")
    assert jobs(house) == {"bob": JobVerb.UPDATE}
    for name in ("manager", "alice", "zoe"):
        report(house, name)
    assert jobs(house) == {"bob": JobVerb.UPDATE}
    await updated(house, "bob")
    assert jobs(house) == {}  # bob has not said that he works
    report(house, "bob")
    assert jobs(house) == {"alice": JobVerb.UPDATE}
    await updated(house, "alice")
    report(house, "alice")
    await updated(house, "zoe")
    report(house, "zoe")
    await updated(house, "manager")
    assert stale(house) == []
    report(house, "manager")
    assert jobs(house) == {}
    assert failures(house) == []


@pytest.mark.parametrize("turn", ["error", "needs-login"])
async def test_one_without_a_turn_is_at_rest(house: House, turn: str) -> None:
    await upgrade(house)
    report(house, "alice", turn)
    await updated(house, "alice")


async def test_who_begins_a_turn_meanwhile_is_updated_after_it(house: House) -> None:
    await upgrade(house)
    house.backend.gate.clear()
    report(house, "alice")
    ordered = job(house, "alice")
    await asyncio.sleep(0)
    report(house, "alice", "thinking")
    house.backend.gate.set()
    assert (await house.diary.end_of(ordered))[1] == LATER
    assert ("stop", "alice") not in house.backend.calls
    assert jobs(house) == {}
    report(house, "alice")
    await updated(house, "alice")


async def test_an_update_that_was_asked_for_interrupts_a_turn(house: House) -> None:
    await upgrade(house)
    report(house, "alice", "thinking")
    ordered = house.lifecycle.order(JobVerb.UPDATE, "alice")
    assert (await house.diary.end_of(ordered))[1] == "restarted"
    assert "alice" not in stale(house)


async def test_who_is_stopped_or_sleeps_stays_so(house: House) -> None:
    await house.order(JobVerb.STOP, "alice")
    report(house, "bob")
    assert await house.diary.end_of(house.lifecycle.order(JobVerb.SLEEP, "bob")) == DONE
    await upgrade(house)
    await updated(house, "alice")
    await updated(house, "bob")
    assert house.state("alice") is AgentState.STOPPED
    assert house.state("bob") is AgentState.SLEEPING
    assert ("start", "alice") not in house.backend.calls


async def test_a_failure_stops_it_and_is_told(house: House) -> None:
    await upgrade(house)
    house.backend.fail["start"] = Unavailable("There is no READY.")
    report(house, "bob")
    report(house, "alice")
    bob = job(house, "bob")
    assert (await house.diary.end_of(bob))[0] == "failed"
    text = (
        "The update of bob failed: There is no READY. It is stopped now. "
        "These agents were not updated: alice, manager; `hivectl update-all` updates them."
    )
    assert failures(house) == [("manager", text), ("operator", text)]
    house.backend.fail.clear()
    report(house, "alice", "thinking")
    report(house, "alice")
    assert jobs(house) == {}
    assert house.lifecycle.update_all() == ["alice", "manager"]
    await updated(house, "alice")
    assert len(failures(house)) == 2


async def test_a_container_that_dies_of_the_new_version_stops_it(house: House) -> None:
    await upgrade(house)
    report(house, "bob")
    report(house, "alice")
    await updated(house, "bob")
    house.backend.set("bob", "activating", result="exit-code")
    await house.settle()
    assert jobs(house) == {}
    house.backend.set("bob", "failed", result="start-limit-hit")
    await house.settle()
    assert jobs(house) == {}
    assert [recipient for recipient, _text in failures(house)] == ["manager", "operator"]
    assert "does not come up again. It is failed now" in failures(house)[0][1]
    assert house.lifecycle.update_all() == ["alice", "manager"]
    await updated(house, "alice")


async def test_a_host_that_goes_down_is_no_failure(house: House) -> None:
    await upgrade(house)
    house.backend.fail["start"] = Unavailable("It was canceled.")
    house.backend.stopping = True
    report(house, "bob")
    bob = job(house, "bob")
    await house.lifecycle.jobs.released(bob.number)
    assert not house.diary.finished[bob.number].done()
    await house.close()
    house.backend.fail.clear()
    house.backend.stopping = False
    await house.open()
    await updated(house, "bob")
    assert failures(house) == []


async def test_a_cancelled_one_is_left_out(house: House) -> None:
    await upgrade(house)
    house.backend.gate.clear()
    report(house, "bob")
    bob = job(house, "bob")
    report(house, "alice")
    await asyncio.sleep(0)
    house.lifecycle.cancel(bob.number)
    house.backend.gate.set()
    assert (await house.diary.end_of(bob))[0] == "cancelled"
    report(house, "bob")
    await updated(house, "alice")
    report(house, "alice")
    assert stale(house) == ["bob", "manager"]
    assert jobs(house) == {}
    assert failures(house) == []


async def test_who_is_busy_is_waited_for(house: House) -> None:
    await upgrade(house)
    house.backend.gate.clear()
    restart = house.lifecycle.order(JobVerb.RESTART, "alice")
    report(house, "alice")
    assert jobs(house) == {"alice": JobVerb.RESTART}
    house.backend.gate.set()
    assert await house.diary.end_of(restart) == DONE
    assert stale(house) == ["bob", "manager"]
    report(house, "alice")
    assert jobs(house) == {}
    report(house, "bob")
    await updated(house, "bob")


async def test_who_is_destroyed_is_forgotten(house: House) -> None:
    await upgrade(house)
    assert await house.diary.end_of(house.lifecycle.destroy("alice", True)) == DONE
    report(house, "bob")
    await updated(house, "bob")


async def test_who_has_failed_waits_for_its_start(house: House) -> None:
    await upgrade(house)
    house.backend.set("alice", "failed", result="start-limit-hit")
    await house.settle()
    assert house.lifecycle.update_all() == ["bob", "manager"]
    report(house, "bob")
    await updated(house, "bob")
    assert house.state("alice") is AgentState.FAILED
    await house.order(JobVerb.START, "alice")
    assert stale(house) == ["manager"]


async def test_the_setting_leaves_it_to_the_operator(house: House) -> None:
    house.settings = LifecycleConfig(create_manager=False, auto_update=False)
    await upgrade(house)
    report(house, "alice")
    assert jobs(house) == {}
    assert house.lifecycle.update_all() == ["alice", "bob", "manager"]
    await updated(house, "alice")


async def test_nothing_is_ordered_when_nothing_is_stale_or_lifecycle_stops(house: House) -> None:
    report(house, "alice")
    assert house.lifecycle.update_all() == []
    await upgrade(house)
    house.lifecycle.rolling_update.stop()
    report(house, "alice")
    assert jobs(house) == {}


async def test_a_killed_lifecycle_goes_on_where_it_was(house: House) -> None:
    await upgrade(house)
    house.backend.halt_at = house.backend.points + 2
    report(house, "bob")
    await house.backend.halted.wait()
    await house.kill()
    await house.open()
    # bob has not reported to the new lifecycle yet, so he may be in a turn.
    assert await house.diary.end_of(job(house, "bob")) == ("done", LATER)
    report(house, "bob")
    await updated(house, "bob")
    report(house, "bob")
    report(house, "alice")
    await updated(house, "alice")
