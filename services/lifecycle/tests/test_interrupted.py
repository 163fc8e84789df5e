"""Killing lifecycle, or cancelling the job, at every step of every verb."""

from collections.abc import Callable
from pathlib import Path

import pytest

from services.lifecycle.agents.record import Phase
from services.lifecycle.backends.backend import Reconciled
from services.lifecycle.jobs.job import Job
from services.lifecycle.tests.room import DONE, Room
from wire.principal import agent
from wire.records.lifecycle import (
    AgentState,
    DeployOptions,
    JobResult,
    JobVerb,
    Report,
    SpawnOptions,
)

OLD, NEW = "a" * 40, "b" * 40

RESULT = {
    JobVerb.SPAWN: AgentState.RUNNING,
    JobVerb.START: AgentState.RUNNING,
    JobVerb.STOP: AgentState.STOPPED,
    JobVerb.KILL: AgentState.STOPPED,
    JobVerb.RESTART: AgentState.RUNNING,
    JobVerb.REBUILD: AgentState.RUNNING,
    JobVerb.UPDATE: AgentState.RUNNING,
    JobVerb.SLEEP: AgentState.SLEEPING,
    JobVerb.DEPLOY: AgentState.RUNNING,
    JobVerb.DESTROY: None,
    JobVerb.PURGE: None,
}


def ordered(room: Room, verb: JobVerb) -> Job:
    """Order `verb` for alice."""
    orders = room.orders
    by_verb: dict[JobVerb, Callable[[], Job]] = {
        JobVerb.SPAWN: lambda: orders.spawn("alice", SpawnOptions()),
        JobVerb.DESTROY: lambda: orders.destroy("alice", False),
        JobVerb.PURGE: lambda: orders.purge("alice"),
        JobVerb.SLEEP: lambda: orders.order(JobVerb.SLEEP, "alice"),
        JobVerb.DEPLOY: lambda: orders.deploy("alice", NEW, DeployOptions()),
    }
    return by_verb.get(verb, lambda: orders.order(verb, "alice"))()


async def prepared(room: Room, verb: JobVerb) -> None:
    if verb is not JobVerb.SPAWN:
        await room.spawn("alice")
    if verb is JobVerb.START:
        await room.order(JobVerb.STOP, "alice")
    if verb is JobVerb.PURGE:
        await room.diary.end_of(room.orders.destroy("alice", False))
    if verb is JobVerb.UPDATE:
        await room.close()
        room.version = "2"
        await room.open()
    if verb is JobVerb.SLEEP:
        room.harnesses.report(agent("alice"), "alice", Report(turn_state="idle"))
    if verb is JobVerb.DEPLOY:
        assert await room.diary.end_of(room.orders.deploy("alice", OLD, DeployOptions())) == DONE
    room.backend.reconciled = Reconciled(["a file written"], restart=verb is JobVerb.REBUILD)
    room.backend.points = 0


async def count(folder: Path, verb: JobVerb) -> int:
    """Return the number of points at which `verb` can be interrupted."""
    room = Room(folder)
    await room.open()
    await prepared(room, verb)
    result, note = await room.diary.end_of(ordered(room, verb))
    await room.close()
    assert result is JobResult.DONE, note
    return room.backend.points


@pytest.mark.parametrize("verb", JobVerb)
async def test_killed_at_every_step_and_started_again(tmp_path: Path, verb: JobVerb) -> None:
    (tmp_path / "whole").mkdir()
    points = await count(tmp_path / "whole", verb)
    assert points >= 2
    for point in range(1, points + 1):
        folder = tmp_path / str(point)
        folder.mkdir()
        room = Room(folder)
        await room.open()
        await prepared(room, verb)
        room.backend.halt_at = point
        number = ordered(room, verb).number
        await room.backend.halted.wait()
        await room.kill()
        await room.open()
        again = room.jobs.of("alice")
        assert again is not None
        assert again.number == number
        result, note = await room.diary.end_of(again)
        assert result is JobResult.DONE, (point, note)
        await at_rest(room, RESULT[verb])
        assert room.backend.running.get("alice", "") == (NEW if verb is JobVerb.DEPLOY else "")
        assert not room.diary.crashes, point
        await room.close()


async def at_rest(room: Room, state: AgentState | None) -> None:
    """Check that the job reached its goal."""
    await room.settle()
    assert not room.store.jobs()
    there = {one.name: one.state for one in room.agents}
    assert there == ({} if state is None else {"alice": state})
    record = room.store.find("alice")
    if state is None:
        assert record is None or record.phase is Phase.KEPT
    else:
        assert record is not None
        assert record.phase is Phase.PRESENT
        assert record.enabled == (state is not AgentState.STOPPED)
        assert record.asleep == (state is AgentState.SLEEPING)


@pytest.mark.parametrize("verb", [v for v in JobVerb if v not in (JobVerb.PURGE,)])
async def test_cancelled_at_every_step_leaves_it_as_it_was(tmp_path: Path, verb: JobVerb) -> None:
    (tmp_path / "whole").mkdir()
    points = await count(tmp_path / "whole", verb)
    undone = 0
    for point in range(1, points + 1):
        folder = tmp_path / str(point)
        folder.mkdir()
        room = Room(folder)
        await room.open()
        await prepared(room, verb)
        before = {one.name: (one.state, one.enabled) for one in room.agents}
        room.backend.halt_at = point
        job = ordered(room, verb)
        await room.backend.halted.wait()
        if job.final:
            await room.kill()
            continue
        room.orders.cancel(job.number)
        result, note = await room.diary.end_of(job)
        assert result is JobResult.CANCELLED, (point, note)
        await room.settle()
        after = {one.name: (one.state, one.enabled) for one in room.agents}
        assert after == before, point
        assert room.backend.running.get("alice", "") == (OLD if verb is JobVerb.DEPLOY else ""), (
            point
        )
        assert not room.store.jobs()
        assert not room.diary.crashes, point
        undone += 1
        await room.close()
    assert undone
