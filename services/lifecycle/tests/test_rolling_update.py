"""Rolling updates: one agent after the other, each when it is idle, until the first failure."""

import asyncio

import pytest

from services.config import LifecycleConfig
from services.lifecycle.jobs import rolling_update
from services.lifecycle.jobs.job import Job
from services.lifecycle.jobs.rolling_update import UPDATE_FAILED
from services.lifecycle.tests.room import DONE, Room
from wire.errors import Conflict, Unavailable
from wire.principal import agent
from wire.records.lifecycle import AgentState, DeployOptions, JobVerb, Report

LATER = "it is restarted when it is idle"


@pytest.fixture
async def room(room: Room) -> Room:
    """A room in which alice, bob and the manager run in containers of version 1."""
    for name in ("manager", "alice", "bob"):
        await room.spawn(name)
    return room


async def upgrade(room: Room) -> None:
    """Install version 2; no agent has reported to it yet."""
    await room.close()
    room.version = "2"
    await room.open()
    room.backend.calls.clear()


def report(room: Room, name: str, turn: str = "idle", *, in_turn: bool = False) -> None:
    room.harnesses.report(agent(name), name, Report(turn_state=turn, in_turn=in_turn))


def stale(room: Room) -> list[str]:
    return [one.name for one in room.agents if one.stale]


def jobs(room: Room) -> dict[str, JobVerb]:
    return {job.agent: job.verb for job in room.jobs.all()}


def job(room: Room, name: str) -> Job:
    found = room.jobs.of(name)
    assert found
    assert found.verb is JobVerb.UPDATE
    return found


async def updated(room: Room, name: str) -> None:
    """Wait until the running update of `name` is done."""
    assert (await room.diary.end_of(job(room, name)))[0] == "done"
    assert name not in stale(room)


def failures(room: Room) -> list[tuple[str, str]]:
    told = [*room.broker.sent, *room.store.notices()]
    return [(n.recipient, n.body) for n in told if n.kind == UPDATE_FAILED]


async def test_one_after_the_other_and_the_manager_last(room: Room) -> None:
    await room.spawn("zoe")
    await upgrade(room)
    assert jobs(room) == {}
    for name, turn in (
        ("manager", "thinking"),
        ("bob", "waiting"),
        ("alice", "compacting"),
        ("zoe", "rate-limited"),
    ):
        report(room, name, turn, in_turn=True)
    assert jobs(room) == {}
    report(room, "bob")
    assert jobs(room) == {"bob": JobVerb.UPDATE}
    for name in ("manager", "alice", "zoe"):
        report(room, name)
    assert jobs(room) == {"bob": JobVerb.UPDATE}
    await updated(room, "bob")
    assert jobs(room) == {}  # bob has not said that he works
    report(room, "bob")
    assert jobs(room) == {"alice": JobVerb.UPDATE}
    await updated(room, "alice")
    report(room, "alice")
    await updated(room, "zoe")
    report(room, "zoe")
    await updated(room, "manager")
    assert stale(room) == []
    report(room, "manager")
    assert jobs(room) == {}
    assert failures(room) == []


@pytest.mark.parametrize("turn", ["error", "needs-login"])
async def test_one_without_a_turn_is_at_rest(room: Room, turn: str) -> None:
    await upgrade(room)
    report(room, "alice", turn)
    await updated(room, "alice")


async def test_who_begins_a_turn_meanwhile_is_updated_after_it(room: Room) -> None:
    await upgrade(room)
    room.backend.gate.clear()
    report(room, "alice")
    ordered = job(room, "alice")
    await asyncio.sleep(0)
    report(room, "alice", "thinking")
    room.backend.gate.set()
    assert (await room.diary.end_of(ordered))[1] == LATER
    assert ("stop", "alice") not in room.backend.calls
    assert jobs(room) == {}
    report(room, "alice")
    await updated(room, "alice")


async def test_an_update_that_was_asked_for_interrupts_a_turn(room: Room) -> None:
    await upgrade(room)
    report(room, "alice", "thinking")
    ordered = room.orders.order(JobVerb.UPDATE, "alice")
    assert (await room.diary.end_of(ordered))[1] == "restarted"
    assert "alice" not in stale(room)


async def test_who_is_stopped_or_sleeps_stays_so(room: Room) -> None:
    await room.order(JobVerb.STOP, "alice")
    report(room, "bob")
    assert await room.diary.end_of(room.orders.order(JobVerb.SLEEP, "bob")) == DONE
    await upgrade(room)
    await updated(room, "alice")
    await updated(room, "bob")
    assert room.state("alice") is AgentState.STOPPED
    assert room.state("bob") is AgentState.SLEEPING
    assert ("start", "alice") not in room.backend.calls


async def test_a_failure_stops_it_and_is_told(room: Room) -> None:
    await upgrade(room)
    room.backend.fail["start"] = Unavailable("There is no READY.")
    report(room, "bob")
    report(room, "alice")
    bob = job(room, "bob")
    assert (await room.diary.end_of(bob))[0] == "failed"
    text = (
        "The update of bob failed: There is no READY. It is stopped now. "
        "These agents were not updated: alice, manager; `hivectl update-all` updates them."
    )
    assert failures(room) == [("manager", text), ("operator", text)]
    room.backend.fail.clear()
    report(room, "alice", "thinking")
    report(room, "alice")
    assert jobs(room) == {}
    assert room.parts.rolling_update.begin() == ["alice", "manager"]
    await updated(room, "alice")
    assert len(failures(room)) == 2


async def test_a_container_that_dies_of_the_new_version_stops_it(room: Room) -> None:
    await upgrade(room)
    report(room, "bob")
    report(room, "alice")
    await updated(room, "bob")
    room.backend.set("bob", "activating", result="exit-code")
    await room.settle()
    assert jobs(room) == {}
    room.backend.set("bob", "failed", result="start-limit-hit")
    await room.settle()
    assert jobs(room) == {}
    assert [recipient for recipient, _text in failures(room)] == ["manager", "operator"]
    assert "keeps crashing. It is failed now" in failures(room)[0][1]
    assert room.parts.rolling_update.begin() == ["alice", "manager"]
    await updated(room, "alice")


async def test_one_that_never_reports_again_ends_it_and_the_operator_is_told(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rolling_update, "REPORT_SECONDS", 0.05, raising=False)
    await upgrade(room)
    report(room, "alice")
    await updated(room, "alice")
    before = len(room.broker.sent)
    report(room, "bob")
    assert jobs(room) == {}
    text = (
        "The update of alice failed: its harness has not reported within 0 s. It is running now. "
        "These agents were not updated: bob, manager; `hivectl update-all` updates them."
    )
    await room.told(before + 2)
    assert failures(room) == [("manager", text), ("operator", text)]
    assert room.parts.rolling_update.begin() == ["bob", "manager"]
    await updated(room, "bob")
    report(room, "manager")
    report(room, "bob")
    await updated(room, "manager")
    assert len(failures(room)) == 2


async def test_a_host_that_goes_down_is_no_failure(room: Room) -> None:
    await upgrade(room)
    room.backend.fail["start"] = Unavailable("It was canceled.")
    room.backend.stopping = True
    report(room, "bob")
    bob = job(room, "bob")
    await room.jobs.released(bob.number)
    assert not room.diary.finished[bob.number].done()
    await room.reboot()
    await updated(room, "bob")
    assert failures(room) == []


async def test_a_cancelled_one_is_left_out(room: Room) -> None:
    await upgrade(room)
    room.backend.gate.clear()
    report(room, "bob")
    bob = job(room, "bob")
    report(room, "alice")
    await asyncio.sleep(0)
    room.orders.cancel(bob.number)
    room.backend.gate.set()
    assert (await room.diary.end_of(bob))[0] == "cancelled"
    report(room, "bob")
    await updated(room, "alice")
    report(room, "alice")
    assert stale(room) == ["bob", "manager"]
    assert jobs(room) == {}
    assert failures(room) == []


async def test_who_is_busy_is_waited_for(room: Room) -> None:
    await upgrade(room)
    room.backend.gate.clear()
    restart = room.orders.order(JobVerb.RESTART, "alice")
    report(room, "alice")
    assert jobs(room) == {"alice": JobVerb.RESTART}
    room.backend.gate.set()
    assert await room.diary.end_of(restart) == DONE
    assert stale(room) == ["bob", "manager"]
    report(room, "alice")
    assert jobs(room) == {}
    report(room, "bob")
    await updated(room, "bob")


async def test_who_is_destroyed_is_forgotten(room: Room) -> None:
    await upgrade(room)
    assert await room.diary.end_of(room.orders.destroy("alice", True)) == DONE
    report(room, "bob")
    await updated(room, "bob")


async def test_who_has_failed_waits_for_its_start(room: Room) -> None:
    await upgrade(room)
    room.backend.set("alice", "failed", result="start-limit-hit")
    await room.settle()
    assert room.parts.rolling_update.begin() == ["bob", "manager"]
    report(room, "bob")
    await updated(room, "bob")
    assert room.state("alice") is AgentState.FAILED
    await room.order(JobVerb.START, "alice")
    assert stale(room) == ["manager"]


async def test_the_setting_leaves_it_to_the_operator(room: Room) -> None:
    room.settings = LifecycleConfig(create_manager=False, auto_update=False)
    await upgrade(room)
    report(room, "alice")
    assert jobs(room) == {}
    assert room.parts.rolling_update.begin() == ["alice", "bob", "manager"]
    await updated(room, "alice")


async def test_nothing_is_ordered_when_nothing_is_stale_or_lifecycle_stops(room: Room) -> None:
    report(room, "alice")
    assert room.parts.rolling_update.begin() == []
    await upgrade(room)
    room.parts.rolling_update.stop()
    report(room, "alice")
    assert jobs(room) == {}


async def test_a_killed_lifecycle_goes_on_where_it_was(room: Room) -> None:
    await upgrade(room)
    room.backend.halt_at = room.backend.points + 2
    report(room, "bob")
    await room.backend.halted.wait()
    await room.kill()
    await room.open()
    # bob has not reported to the new lifecycle yet, so he may be in a turn.
    assert await room.diary.end_of(job(room, "bob")) == ("done", LATER)
    report(room, "bob")
    await updated(room, "bob")
    report(room, "bob")
    report(room, "alice")
    await updated(room, "alice")


async def test_a_start_keeps_an_old_build_and_an_update_renews_it(room: Room) -> None:
    """With NixOS systems, a start waits for no build, so only an update makes an agent current."""
    commit = "c" * 40
    assert await room.diary.end_of(room.orders.deploy("bob", commit, DeployOptions())) == DONE
    room.backend.outdated.add(commit)
    await upgrade(room)
    await room.order(JobVerb.RESTART, "bob")
    assert "bob" in stale(room)
    report(room, "bob")
    await updated(room, "bob")
    assert not room.backend.outdated
    assert "bob" not in stale(room)


async def test_an_old_build_that_cannot_be_renewed_ends_the_update(room: Room) -> None:
    commit = "c" * 40
    assert await room.diary.end_of(room.orders.deploy("bob", commit, DeployOptions())) == DONE
    room.backend.outdated.add(commit)
    await upgrade(room)
    room.backend.fail["build"] = Conflict("Nix cannot build it.")
    report(room, "bob")
    await room.diary.end_of(job(room, "bob"))
    assert room.state("bob") is AgentState.RUNNING
    assert "bob" in stale(room)
    assert any("Nix cannot build it" in text for _kind, text in failures(room))
