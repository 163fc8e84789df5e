"""Killing lifecycle, or cancelling the job, at every step of every verb."""

from collections.abc import Callable
from pathlib import Path

import pytest

from services.lifecycle.agents.record import Phase
from services.lifecycle.backends.backend import Reconciled
from services.lifecycle.jobs.job import Job
from services.lifecycle.tests.house import DONE, House
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
    JobVerb.RESTART: AgentState.RUNNING,
    JobVerb.REBUILD: AgentState.RUNNING,
    JobVerb.UPDATE: AgentState.RUNNING,
    JobVerb.SLEEP: AgentState.SLEEPING,
    JobVerb.DEPLOY: AgentState.RUNNING,
    JobVerb.DESTROY: None,
    JobVerb.PURGE: None,
}


def ordered(house: House, verb: JobVerb) -> Job:
    """Order `verb` for alice."""
    lifecycle = house.lifecycle
    orders: dict[JobVerb, Callable[[], Job]] = {
        JobVerb.SPAWN: lambda: lifecycle.spawn("alice", SpawnOptions()),
        JobVerb.DESTROY: lambda: lifecycle.destroy("alice", False),
        JobVerb.PURGE: lambda: lifecycle.purge("alice"),
        JobVerb.SLEEP: lambda: lifecycle.order(JobVerb.SLEEP, "alice"),
        JobVerb.DEPLOY: lambda: lifecycle.deploy("alice", NEW, DeployOptions()),
    }
    return orders.get(verb, lambda: lifecycle.order(verb, "alice"))()


async def prepared(house: House, verb: JobVerb) -> None:
    if verb is not JobVerb.SPAWN:
        await house.spawn("alice")
    if verb is JobVerb.START:
        await house.order(JobVerb.STOP, "alice")
    if verb is JobVerb.PURGE:
        await house.diary.end_of(house.lifecycle.destroy("alice", False))
    if verb is JobVerb.UPDATE:
        await house.close()
        house.version = "2"
        await house.open()
    if verb is JobVerb.SLEEP:
        house.lifecycle.report(agent("alice"), "alice", Report(turn_state="idle"))
    if verb is JobVerb.DEPLOY:
        assert (
            await house.diary.end_of(house.lifecycle.deploy("alice", OLD, DeployOptions())) == DONE
        )
    house.backend.reconciled = Reconciled(["a file written"], restart=verb is JobVerb.REBUILD)
    house.backend.points = 0


async def count(folder: Path, verb: JobVerb) -> int:
    """Return the number of points at which `verb` can be interrupted."""
    house = House(folder)
    await house.open()
    await prepared(house, verb)
    result, note = await house.diary.end_of(ordered(house, verb))
    await house.close()
    assert result is JobResult.DONE, note
    return house.backend.points


@pytest.mark.parametrize("verb", JobVerb)
async def test_killed_at_every_step_and_started_again(tmp_path: Path, verb: JobVerb) -> None:
    (tmp_path / "whole").mkdir()
    points = await count(tmp_path / "whole", verb)
    assert points >= 2
    for point in range(1, points + 1):
        folder = tmp_path / str(point)
        folder.mkdir()
        house = House(folder)
        await house.open()
        await prepared(house, verb)
        house.backend.halt_at = point
        number = ordered(house, verb).number
        await house.backend.halted.wait()
        await house.kill()
        await house.open()
        again = house.lifecycle.jobs.of("alice")
        assert again is not None
        assert again.number == number
        result, note = await house.diary.end_of(again)
        assert result is JobResult.DONE, (point, note)
        await at_rest(house, RESULT[verb])
        assert house.backend.running.get("alice", "") == (NEW if verb is JobVerb.DEPLOY else "")
        assert not house.diary.crashes, point
        await house.close()


async def at_rest(house: House, state: AgentState | None) -> None:
    """Check that the job reached its goal."""
    await house.settle()
    assert not house.store.jobs()
    there = {one.name: one.state for one in house.lifecycle.agents}
    assert there == ({} if state is None else {"alice": state})
    record = house.store.find("alice")
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
        house = House(folder)
        await house.open()
        await prepared(house, verb)
        before = {one.name: (one.state, one.enabled) for one in house.lifecycle.agents}
        house.backend.halt_at = point
        job = ordered(house, verb)
        await house.backend.halted.wait()
        if job.final:
            await house.kill()
            continue
        house.lifecycle.cancel(job.number)
        result, note = await house.diary.end_of(job)
        assert result is JobResult.CANCELLED, (point, note)
        await house.settle()
        after = {one.name: (one.state, one.enabled) for one in house.lifecycle.agents}
        assert after == before, point
        assert house.backend.running.get("alice", "") == (OLD if verb is JobVerb.DEPLOY else ""), (
            point
        )
        assert not house.store.jobs()
        assert not house.diary.crashes, point
        undone += 1
        await house.close()
    assert undone
