"""Approved requests, and a lifecycle that is busy, away or lost."""

import asyncio
from collections.abc import Callable
from functools import partial

import pytest

from services.approvals.deploys import deployer
from services.approvals.deploys.lifecycle import Snapshot
from services.approvals.tests.fake_services import removed
from services.approvals.tests.room import Room, apply, spawn
from wire.errors import AlreadyExists, Conflict, Unavailable
from wire.records.approvals import ApprovalState


async def ordered(room: Room) -> int:
    """Have a deploy of alice approved, which lifecycle carries out; return the request's number."""
    await room.agent()
    number = await apply(room)
    await room.do(room.yes(number))
    return number


async def test_an_order_that_lifecycle_refuses_fails_the_request(room: Room) -> None:
    number = await spawn(room)
    room.lifecycle.agents["bob"] = ""  # the operator was faster
    with pytest.raises(AlreadyExists):
        await room.do(room.yes(number))
    assert room.state(number) is ApprovalState.FAILED
    assert not room.meta.prepared


async def test_a_yes_outlives_a_lifecycle_that_is_away(room: Room) -> None:
    number = await spawn(room)
    room.lifecycle.error = Unavailable("Nobody owns the name.")
    with pytest.raises(Unavailable, match="will be carried out later: Nobody owns"):
        await room.do(room.yes(number))
    assert room.state(number) is ApprovalState.APPROVED
    room.lifecycle.error = None
    room.controller.lifecycle_appeared()
    await room.rest()
    assert [verb for verb, _, _ in room.lifecycle.orders] == ["spawn"]


async def test_a_yes_waits_for_what_else_is_done_to_the_agent(room: Room) -> None:
    await room.agent()
    number = await apply(room)
    room.lifecycle.begin("restart", "alice")
    waiting = asyncio.ensure_future(room.yes(number))
    for _ in range(50):
        await asyncio.sleep(0)
        await room.rest()
    assert not waiting.done()
    assert room.state(number) is ApprovalState.APPROVED
    room.lifecycle.end("alice")
    job = await room.do(waiting)
    assert room.lifecycle.jobs[job].verb == "deploy"


async def test_a_job_that_was_begun_just_before_ours_is_waited_for(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    await room.agent()
    number = await apply(room)
    deploy = room.lifecycle.deploy

    async def late(agent: str, commit: str, *, now: bool, changes: str) -> str:
        if not room.lifecycle.now:
            room.lifecycle.begin("start", agent)
        return await deploy(agent, commit, now=now, changes=changes)

    monkeypatch.setattr(room.lifecycle, "deploy", late)
    waiting = asyncio.ensure_future(room.yes(number))
    for _ in range(50):
        await asyncio.sleep(0)
        await room.rest()
    assert room.state(number) is ApprovalState.BUILDING
    room.lifecycle.end("alice")
    await room.do(waiting)
    room.lifecycle.end("alice")
    await room.rest()
    assert room.state(number) is ApprovalState.DEPLOYED


async def test_both_callers_that_wait_get_the_job(room: Room) -> None:
    await room.agent()
    number = await apply(room)
    room.lifecycle.begin("restart", "alice")
    first = asyncio.ensure_future(room.yes(number))
    for _ in range(50):
        await asyncio.sleep(0)
        await room.rest()
    second = asyncio.ensure_future(room.yes(number, now=True))
    await asyncio.sleep(0)
    room.lifecycle.end("alice")
    job = await room.do(second)
    assert await room.do(first) == job
    assert room.lifecycle.now == [True]


async def test_a_yes_that_takes_long_is_answered_all_the_same(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deployer, "JOB_TIMEOUT", 0.01)
    await room.agent()
    number = await apply(room)
    room.lifecycle.begin("restart", "alice")
    with pytest.raises(Unavailable, match="when the agent's current job has ended"):
        await room.do(room.yes(number))
    room.lifecycle.end("alice")
    await room.rest()
    assert room.state(number) is ApprovalState.BUILDING


async def test_a_conflict_that_is_none_of_a_job_fails_the_request(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    await room.agent()

    async def refuse(agent: str, commit: str, *, now: bool, changes: str) -> str:
        raise Conflict("Not this one.")

    monkeypatch.setattr(room.lifecycle, "deploy", refuse)
    number = await apply(room)
    with pytest.raises(Conflict, match="Not this one"):
        await room.do(room.yes(number))
    assert room.state(number) is ApprovalState.FAILED


async def test_a_lifecycle_that_was_lost_is_not_started_for_what_nobody_waits_for(
    room: Room,
) -> None:
    await room.agent()
    await room.do(room.yes(await apply(room)))
    room.lifecycle.here = False
    asked = room.faults.steps.count("before snapshot")
    room.controller.lifecycle_vanished()
    await room.rest()
    assert room.faults.steps.count("before snapshot") == asked
    room.lifecycle.here = True
    room.controller.lifecycle_appeared()
    await room.rest()
    room.lifecycle.end("alice")
    await room.rest()
    await room.check()


async def test_a_job_that_goes_on_after_lifecycle_was_lost_is_the_same(room: Room) -> None:
    number = await ordered(room)
    room.controller.lifecycle_vanished()
    await room.rest()
    room.lifecycle.end("alice", "failed", "No.")
    await room.rest()
    assert room.row(number).note == "No."
    assert len(room.lifecycle.orders) == 1


async def test_a_job_that_lifecycle_took_with_it_is_ordered_anew(room: Room) -> None:
    number = await ordered(room)
    room.lifecycle.jobs.clear()
    room.controller.lifecycle_vanished()
    await room.rest()
    assert len(room.lifecycle.orders) == 2
    room.lifecycle.end("alice")
    await room.rest()
    assert room.state(number) is ApprovalState.DEPLOYED


async def test_a_deploy_that_ended_while_nobody_listened_is_not_ordered_again(room: Room) -> None:
    number = await ordered(room)
    room.lifecycle.told = None
    room.lifecycle.end("alice")
    await room.start()
    await room.rest()
    assert room.state(number) is ApprovalState.DEPLOYED
    assert len(room.lifecycle.orders) == 1
    await room.check()


async def test_a_job_that_ends_before_its_order_is_answered_counts(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    await room.agent()
    number = await apply(room)
    deploy = room.lifecycle.deploy

    async def fast(agent: str, commit: str, *, now: bool, changes: str) -> str:
        job = await deploy(agent, commit, now=now, changes=changes)
        room.lifecycle.end(agent)
        return job

    monkeypatch.setattr(room.lifecycle, "deploy", fast)
    assert await room.do(room.yes(number))
    assert room.state(number) is ApprovalState.DEPLOYED


async def test_a_job_of_somebody_else_that_ends_before_our_order_is_answered_does_not_count(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = await spawn(room)

    async def late(agent: str, commit: str) -> str:
        room.lifecycle.agents[agent] = ""
        room.controller.job_removed(removed("/job/of/the/operator", agent, "spawn", "done", ""))
        raise AlreadyExists(f"There is an agent {agent} already.")

    monkeypatch.setattr(room.lifecycle, "spawn", late)
    with pytest.raises(AlreadyExists):
        await room.do(room.yes(number))
    assert room.state(number) is ApprovalState.FAILED
    await room.check()


async def test_jobs_of_others_change_nothing(room: Room) -> None:
    await room.agent()
    number = await apply(room)
    room.controller.job_removed(removed("/any", "alice", "deploy", "done", ""))
    assert room.state(number) is ApprovalState.PENDING
    job = await room.do(room.yes(number))
    room.controller.job_removed(removed(job, "bob", "deploy", "failed", "x"))
    room.controller.job_removed(removed(job, "alice", "start", "failed", "x"))
    room.controller.job_removed(removed(job + "0", "alice", "deploy", "failed", "x"))
    assert room.state(number) is ApprovalState.BUILDING


async def test_approvals_of_different_agents_do_not_wait_for_each_other(room: Room) -> None:
    await room.agent()
    number = await apply(room)
    other = await spawn(room)
    await room.do(room.yes(number))
    await room.do(room.yes(other))
    room.lifecycle.end("bob")
    await room.rest()
    assert room.state(other) is ApprovalState.DEPLOYED
    assert room.meta.prepared.keys() == {"alice"}
    room.lifecycle.end("alice")
    await room.rest()
    await room.check()


async def test_a_git_error_with_one_agent_does_not_stop_another(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    await room.agent()
    number = await apply(room)
    other = await spawn(room)
    prepare = room.meta.prepare

    async def broken(agent: str, approval: int, commit: str) -> None:
        if agent == "alice":
            raise Unavailable("The disk is full.")
        await prepare(agent, approval, commit)

    monkeypatch.setattr(room.meta, "prepare", broken)
    with pytest.raises(Unavailable, match="disk is full"):
        await room.do(room.yes(number))
    await room.do(room.yes(other))
    room.lifecycle.end("bob")
    monkeypatch.undo()
    await room.rest()
    assert room.state(other) is ApprovalState.DEPLOYED
    assert room.state(number) is ApprovalState.BUILDING
    assert ("deploy", "alice", room.row(number).commit) in room.lifecycle.orders


async def _restart(
    room: Room, monkeypatch: pytest.MonkeyPatch, after_look: Callable[[], None]
) -> None:
    """Restart lifecycle; call `after_look` once it has answered, before the answer is used."""
    look = room.lifecycle.snapshot
    happened: list[object] = []

    async def snapshot() -> Snapshot:
        found = await look()
        if not happened:
            happened.append(after_look)
            after_look()
        return found

    monkeypatch.setattr(room.lifecycle, "snapshot", snapshot)
    room.controller.lifecycle_vanished()
    room.controller.lifecycle_appeared()
    await room.rest()
    assert happened


async def test_a_job_that_ends_just_after_the_look_is_not_lost(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = await ordered(room)
    end = partial(room.lifecycle.end, "alice", "failed", "No.")
    await _restart(room, monkeypatch, end)
    assert room.state(number) is ApprovalState.FAILED
    await room.check()


async def test_lifecycle_that_is_lost_just_after_the_look_is_looked_at_again(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = await ordered(room)
    await _restart(room, monkeypatch, partial(_lose_with_the_job, room))
    assert room.state(number) is ApprovalState.DEPLOYED
    await room.check()


async def test_lifecycle_that_is_lost_while_another_request_is_ordered_is_looked_at_again(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    await room.agent()
    order = room.lifecycle.spawn

    async def lose(agent: str, commit: str) -> str:
        if room.lifecycle.jobs:
            monkeypatch.setattr(room.lifecycle, "spawn", order)
            _lose_with_the_job(room)
        raise Unavailable("It was killed.")

    monkeypatch.setattr(room.lifecycle, "spawn", lose)
    first = await spawn(room)
    with pytest.raises(Unavailable):
        await room.do(room.yes(first))
    second = await apply(room)
    room.lifecycle.here = False
    room.lifecycle.error = Unavailable("It is down.")
    with pytest.raises(Unavailable):
        await room.do(room.yes(second))
    room.lifecycle.here, room.lifecycle.error = True, None
    room.lifecycle.begin("deploy", "alice", room.row(second).commit)
    room.controller.lifecycle_appeared()
    await room.rest()
    room.lifecycle.end("bob")
    await room.rest()
    assert {room.state(first), room.state(second)} == {ApprovalState.DEPLOYED}
    await room.check()


def _lose_with_the_job(room: Room) -> None:
    """Restart lifecycle; it was killed after the end of its job, before it signalled that."""
    room.controller.lifecycle_vanished()
    [job] = room.lifecycle.jobs.values()
    room.lifecycle.agents[job.agent] = job.commit
    room.lifecycle.jobs.clear()
    room.controller.lifecycle_appeared()
