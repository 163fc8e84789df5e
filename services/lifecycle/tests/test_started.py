"""The reason of a start, which the agent is told."""

import pytest

from services.lifecycle.agents.start import Start
from services.lifecycle.options import DEPLOY
from services.lifecycle.tests.room import DONE, Room
from wire.principal import agent
from wire.records.lifecycle import JobVerb, Report

NEW = "b" * 40


@pytest.fixture
async def room(room: Room) -> Room:
    await room.spawn("alice")
    return room


def told(room: Room) -> tuple[str, str, str]:
    """Return what harness.json says about the last start of alice."""
    start = room.backend.started["alice"]
    assert start is not None
    assert start.at > 0
    assert not start.waits
    return start.verb, start.by, start.changes


async def test_an_agent_is_not_told_of_its_first_start(room: Room) -> None:
    assert room.backend.started["alice"] is None


async def test_a_restart_names_who_ordered_it(room: Room) -> None:
    job = room.orders.order(JobVerb.RESTART, "alice", "manager")
    assert await room.diary.end_of(job) == DONE
    assert told(room) == ("restart", "manager", "")


async def test_a_deploy_says_what_has_changed(room: Room) -> None:
    options = DEPLOY.parse({"changes": "apply 7, requested by manager: more\ntools"})
    assert await room.diary.end_of(room.orders.deploy("alice", NEW, options)) == DONE
    assert told(room) == ("deploy", "operator", "apply 7, requested by manager: more tools")


async def test_a_failed_deploy_says_so(room: Room) -> None:
    room.backend.broken.add(NEW)
    job = room.orders.deploy("alice", NEW, DEPLOY.parse({"changes": "more tools"}))
    await room.diary.end_of(job)
    verb, _, changes = told(room)
    assert verb == "deploy"
    assert changes.startswith("A deploy failed. alice does not start with its configuration")


async def test_a_deploy_while_asleep_is_told_at_the_next_start(room: Room) -> None:
    room.harnesses.report(agent("alice"), "alice", Report(turn_state="idle"))
    await room.order(JobVerb.SLEEP, "alice")
    options = DEPLOY.parse({"changes": "more tools"})
    assert await room.diary.end_of(room.orders.deploy("alice", NEW, options)) == DONE
    await room.order(JobVerb.START, "alice")
    assert told(room) == ("deploy", "operator", "more tools")
    await room.order(JobVerb.RESTART, "alice")
    assert told(room) == ("restart", "system", "")


async def test_a_wake_is_not_a_start(room: Room) -> None:
    room.harnesses.report(agent("alice"), "alice", Report(turn_state="idle"))
    await room.order(JobVerb.SLEEP, "alice")
    await room.order(JobVerb.START, "alice")
    assert told(room) == ("wake", "system", "")


async def test_an_update_says_so(room: Room) -> None:
    await room.close()
    room.version = "2"
    await room.open()
    job = room.orders.order(JobVerb.UPDATE, "alice", "operator")
    await room.diary.end_of(job)
    assert told(room) == ("update", "operator", "Hyperhive was updated")


async def test_a_crash_is_told_to_the_container_that_systemd_starts(room: Room) -> None:
    room.backend.set("alice", "activating", result="signal", code=2, status=9)
    await room.settle()
    verb, by, changes = told(room)
    assert (verb, by) == ("crash", "system")
    assert "killed by SIGKILL" in changes


@pytest.mark.parametrize(("rebooted", "verb"), [(True, "boot"), (False, "crash")])
async def test_a_start_with_lifecycle_itself(room: Room, rebooted: bool, verb: str) -> None:
    await room.kill()
    room.backend.units.clear()
    if rebooted:
        room.backend.boot_id = "boot-2"
    await room.open()
    job = room.jobs.of("alice")
    assert job is not None
    assert await room.diary.end_of(job) == DONE
    assert told(room)[:2] == (verb, "system")


async def test_the_reason_is_kept_so_that_a_rebuild_changes_nothing(room: Room) -> None:
    await room.order(JobVerb.RESTART, "alice")
    before = room.backend.started["alice"]
    await room.kill()
    await room.open()
    [alice] = room.agents
    assert alice.spec.started == before
    assert isinstance(before, Start)


@pytest.mark.parametrize("turn", ["error", "thinking", "idle"])
async def test_a_rebuild_restarts_an_agent_whose_turns_fail(room: Room, turn: str) -> None:
    room.harnesses.report(agent("alice"), "alice", Report(turn_state=turn, in_turn=False))
    result, note = await room.diary.end_of(room.orders.order(JobVerb.REBUILD, "alice", "operator"))
    assert result == "done"
    assert note == ("restarted" if turn == "error" else "")
    if turn == "error":
        assert told(room) == ("rebuild", "operator", "")
    else:
        assert room.backend.started["alice"] is None


async def test_a_rebuild_does_not_interrupt_a_turn_whose_requests_are_refused(room: Room) -> None:
    room.harnesses.report(agent("alice"), "alice", Report(turn_state="error", in_turn=True))
    assert await room.diary.end_of(room.orders.order(JobVerb.REBUILD, "alice", "operator")) == DONE
    assert room.backend.started["alice"] is None


async def test_a_rebuild_of_a_stopped_agent_is_told_at_its_next_start(room: Room) -> None:
    await room.order(JobVerb.STOP, "alice")
    await room.diary.end_of(room.orders.deploy("alice", NEW, DEPLOY.parse({"changes": "tools"})))
    job = room.orders.order(JobVerb.REBUILD, "alice", "operator")
    await room.diary.end_of(job)
    await room.order(JobVerb.START, "alice")
    assert told(room) == ("rebuild", "operator", "tools")
    await room.order(JobVerb.RESTART, "alice")
    assert told(room)[0] == "restart"
