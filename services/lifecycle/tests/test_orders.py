"""The orders of jobs, with fake containers and a fake broker."""

import logging

import pytest

from services.journal import fields
from services.lifecycle.agents.record import Phase
from services.lifecycle.jobs.containers import STARTS_AT_ONCE
from services.lifecycle.options import SPAWN
from services.lifecycle.tests.room import DONE, Room
from wire.errors import (
    AlreadyExists,
    Conflict,
    InvalidArgument,
    NotFound,
)
from wire.records.lifecycle import AgentState, JobResult, JobVerb, SpawnOptions

BASE = 0x1000_0000


async def test_a_spawn_ends_when_the_container_runs(room: Room) -> None:
    room.backend.gate.clear()
    job = room.orders.spawn("alice", SpawnOptions())
    assert not room.diary.finished[job.number].done()
    room.backend.gate.set()
    assert await room.diary.end_of(job) == DONE
    assert room.backend.calls == [("configure", "alice"), ("start", "alice")]
    assert room.state("alice") is AgentState.RUNNING
    assert "alice" in room.broker.agents
    assert await room.told(1) == ["spawned"]


async def test_the_manager_is_not_told_of_its_own_spawn(room: Room) -> None:
    await room.spawn("manager")
    await room.spawn("alice")
    assert await room.told(1) == ["spawned"]
    assert "alice" in room.broker.sent[0].body


@pytest.mark.parametrize(
    "name", ["", "Alice", "../x", "a" * 10, "9a", "a_b", "ä", "operator", "system", "a\n"]
)
async def test_a_bad_name_is_refused_with_the_rule(room: Room, name: str) -> None:
    with pytest.raises(
        InvalidArgument, match=r"is not a valid agent name: .*(lower-case|reserved)"
    ):
        room.orders.spawn(name, SpawnOptions())
    assert not room.backend.calls


@pytest.mark.parametrize(
    "options",
    [
        {"colour": "red"},
        {"model": 3},
        {"model": "x" * 129},
        {"model": "\n"},
        {"model": "--help"},
        {"commit": "main"},
    ],
)
async def test_bad_options_are_refused(room: Room, options: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument):
        room.orders.spawn("alice", SPAWN.parse(options))


async def test_a_taken_name_is_refused(room: Room) -> None:
    await room.spawn("alice")
    with pytest.raises(AlreadyExists):
        room.orders.spawn("alice", SpawnOptions())


async def test_the_same_request_joins_and_another_conflicts(room: Room) -> None:
    await room.spawn("alice")
    room.backend.gate.clear()
    job = room.orders.order(JobVerb.STOP, "alice")
    assert room.orders.order(JobVerb.STOP, "alice") is job
    with pytest.raises(Conflict, match="being stopped"):
        room.orders.order(JobVerb.START, "alice")
    with pytest.raises(Conflict):
        room.orders.destroy("alice", False)
    room.backend.gate.set()
    assert await room.diary.end_of(job) == DONE


async def test_so_many_start_at_once_that_each_is_in_time(room: Room) -> None:
    jobs = [room.orders.spawn(f"n{i}", SpawnOptions()) for i in range(3 * STARTS_AT_ONCE)]
    assert [await room.diary.end_of(job) for job in jobs] == [DONE] * len(jobs)
    assert room.backend.most_starting == STARTS_AT_ONCE


@pytest.mark.parametrize("where", ["configure", "start"])
async def test_a_failed_spawn_undoes_what_it_did(room: Room, where: str) -> None:
    room.backend.fail[where] = Conflict("It does not come up.")
    result = await room.diary.end_of(room.orders.spawn("alice", SpawnOptions()))
    assert result == (JobResult.FAILED, "It does not come up.")
    assert ("destroy", "alice", True) in room.backend.calls
    assert room.store.find("alice") is None
    assert not list(room.agents)
    assert "alice" not in room.broker.agents
    assert not room.diary.crashes


async def test_a_failed_spawn_keeps_the_data_of_an_earlier_agent(room: Room) -> None:
    room.backend.kept["alice"] = BASE
    room.backend.fail["start"] = Conflict("no")
    await room.diary.end_of(room.orders.spawn("alice", SpawnOptions()))
    assert ("destroy", "alice", False) in room.backend.calls
    assert room.record("alice").phase is Phase.KEPT


async def test_destroy_keeps_data_and_uids_unless_it_purges(room: Room) -> None:
    await room.spawn("alice")
    base = room.record("alice").uid_base
    assert await room.diary.end_of(room.orders.destroy("alice", False)) == DONE
    assert ("destroy", "alice", False) in room.backend.calls
    assert "alice" not in room.broker.agents
    with pytest.raises(NotFound, match="kept"):
        room.orders.destroy("alice", False)
    await room.spawn("alice")
    assert room.record("alice").uid_base == base
    assert await room.diary.end_of(room.orders.destroy("alice", True)) == DONE
    assert room.store.find("alice") is None
    with pytest.raises(NotFound):
        room.orders.destroy("alice", True)
    assert not room.diary.crashes


async def test_uid_ranges_are_not_shared(room: Room) -> None:
    await room.spawn("alice")
    first = room.record("alice").uid_base
    room.backend.kept["bob"] = first  # somebody copied alice's data
    await room.spawn("bob")
    assert room.record("bob").uid_base != first


async def test_kept_data_keeps_its_owner(room: Room) -> None:
    room.backend.kept["alice"] = BASE + 0x70_0000
    await room.spawn("alice")
    assert room.record("alice").uid_base == BASE + 0x70_0000


async def test_a_failed_start_leaves_it_stopped(room: Room) -> None:
    await room.spawn("alice")
    await room.order(JobVerb.STOP, "alice")
    room.backend.fail["start"] = Conflict("no")
    job = room.orders.order(JobVerb.START, "alice")
    assert (await room.diary.end_of(job))[0] is JobResult.FAILED
    assert room.backend.calls[-1] == ("stop", "alice")
    assert not room.diary.crashes


async def test_each_step_of_a_job_is_logged_under_its_number(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        jobs = [room.orders.spawn(name, SpawnOptions()) for name in ("alice", "bob")]
        for job in jobs:
            assert await room.diary.end_of(job) == DONE
    for job in jobs:
        lines = [fields(r) | {"text": r.getMessage()} for r in caplog.records]
        assert [line["text"] for line in lines if line.get("HIVE_JOB") == job.number] == [
            f"{job.agent}: creating the inbox",
            f"{job.agent}: writing the files",
            f"{job.agent}: starting the container",
            f"spawn of {job.agent} done",
        ]
        assert all(
            line["HIVE_AGENT"] == job.agent for line in lines if line.get("HIVE_JOB") == job.number
        )


async def test_a_destroyed_agent_is_a_tombstone_until_it_is_purged(room: Room) -> None:
    for name in ("bob", "alice"):
        await room.spawn(name)
        assert await room.diary.end_of(room.orders.destroy(name, False)) == DONE
    found = await room.parts.tombstones.all()
    assert [(one.name, one.size) for one in found] == [("alice", 42), ("bob", 42)]
    assert all(one.destroyed for one in found)
    assert await room.diary.end_of(room.orders.purge("alice")) == DONE
    assert [one.name for one in await room.parts.tombstones.all()] == ["bob"]
    with pytest.raises(NotFound, match="no tombstone"):
        room.orders.purge("alice")
