"""The rules, with fake containers and a fake broker."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services import deliverer
from services.journal import fields
from services.lifecycle.agents.record import Phase, Record
from services.lifecycle.jobs.containers import STARTS_AT_ONCE
from services.lifecycle.options import SPAWN
from services.lifecycle.tests.room import DONE, Room
from wire.errors import (
    AccessDenied,
    AlreadyExists,
    Conflict,
    InvalidArgument,
    LimitExceeded,
    NotFound,
)
from wire.principal import THE_OPERATOR, agent
from wire.records.lifecycle import AgentState, JobResult, JobVerb, Report, SpawnOptions, TurnState

BASE = 0x1000_0000


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    room = Room(tmp_path)
    await room.open()
    yield room
    await room.close()


async def test_a_spawn_ends_when_the_container_runs(room: Room) -> None:
    room.backend.gate.clear()
    job = room.lifecycle.spawn("alice", SpawnOptions())
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
        room.lifecycle.spawn(name, SpawnOptions())
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
        room.lifecycle.spawn("alice", SPAWN.parse(options))


async def test_a_taken_name_is_refused(room: Room) -> None:
    await room.spawn("alice")
    with pytest.raises(AlreadyExists):
        room.lifecycle.spawn("alice", SpawnOptions())


async def test_the_same_request_joins_and_another_conflicts(room: Room) -> None:
    await room.spawn("alice")
    room.backend.gate.clear()
    job = room.lifecycle.order(JobVerb.STOP, "alice")
    assert room.lifecycle.order(JobVerb.STOP, "alice") is job
    with pytest.raises(Conflict, match="being stopped"):
        room.lifecycle.order(JobVerb.START, "alice")
    with pytest.raises(Conflict):
        room.lifecycle.destroy("alice", False)
    room.backend.gate.set()
    assert await room.diary.end_of(job) == DONE


async def test_so_many_start_at_once_that_each_is_in_time(room: Room) -> None:
    jobs = [room.lifecycle.spawn(f"n{i}", SpawnOptions()) for i in range(3 * STARTS_AT_ONCE)]
    assert [await room.diary.end_of(job) for job in jobs] == [DONE] * len(jobs)
    assert room.backend.most_starting == STARTS_AT_ONCE


@pytest.mark.parametrize("where", ["configure", "start"])
async def test_a_failed_spawn_undoes_what_it_did(room: Room, where: str) -> None:
    room.backend.fail[where] = Conflict("It does not come up.")
    result = await room.diary.end_of(room.lifecycle.spawn("alice", SpawnOptions()))
    assert result == (JobResult.FAILED, "It does not come up.")
    assert ("destroy", "alice", True) in room.backend.calls
    assert room.store.find("alice") is None
    assert not list(room.lifecycle.agents)
    assert "alice" not in room.broker.agents
    assert not room.diary.crashes


async def test_a_failed_spawn_keeps_the_data_of_an_earlier_agent(room: Room) -> None:
    room.backend.kept["alice"] = BASE
    room.backend.fail["start"] = Conflict("no")
    await room.diary.end_of(room.lifecycle.spawn("alice", SpawnOptions()))
    assert ("destroy", "alice", False) in room.backend.calls
    assert room.record("alice").phase is Phase.KEPT


async def test_destroy_keeps_data_and_uids_unless_it_purges(room: Room) -> None:
    await room.spawn("alice")
    base = room.record("alice").uid_base
    assert await room.diary.end_of(room.lifecycle.destroy("alice", False)) == DONE
    assert ("destroy", "alice", False) in room.backend.calls
    assert "alice" not in room.broker.agents
    with pytest.raises(NotFound, match="kept"):
        room.lifecycle.destroy("alice", False)
    await room.spawn("alice")
    assert room.record("alice").uid_base == base
    assert await room.diary.end_of(room.lifecycle.destroy("alice", True)) == DONE
    assert room.store.find("alice") is None
    with pytest.raises(NotFound):
        room.lifecycle.destroy("alice", True)
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


async def test_a_crash_is_told_once_with_its_cause(room: Room) -> None:
    await room.spawn("alice")
    invocation = room.record("alice").seen
    room.backend.set("alice", "failed", result="signal", code=2, status=9)
    room.backend.set("alice", "activating")
    room.backend.come_up("alice")
    await room.settle()
    assert [c.result for c in room.diary.crashes] == ["signal"]
    assert await room.told(2) == ["spawned", "container-crash"]
    notice = room.broker.sent[1]
    assert "killed by SIGKILL" in notice.body
    assert notice.dedupe_key == f"container-crash:alice:{invocation}:to-manager"


async def test_a_second_crash_is_told_too(room: Room) -> None:
    await room.spawn("alice")
    for _ in range(2):
        room.backend.set("alice", "failed", result="exit-code", code=1, status=1)
        room.backend.come_up("alice")
    await room.settle()
    assert len({c.invocation for c in room.diary.crashes}) == 2


async def test_an_end_by_a_job_is_no_crash(room: Room) -> None:
    await room.spawn("alice")
    await room.order(JobVerb.STOP, "alice")
    await room.order(JobVerb.START, "alice")
    await room.order(JobVerb.RESTART, "alice")
    await room.diary.end_of(room.lifecycle.destroy("alice", True))
    await room.settle()
    assert not room.diary.crashes


async def test_a_crash_waits_on_disk_for_the_broker(room: Room) -> None:
    await room.spawn("alice")
    await room.told(1)
    room.broker.go_down()
    room.backend.set("alice", "failed", result="exit-code", code=1, status=1)
    async with asyncio.timeout(5):
        await room.broker.tried.wait()
    await room.close()
    await room.open()
    assert [n.kind for n in room.store.notices()] == ["container-crash"]
    room.broker.error = None
    room.lifecycle.broker_appeared()
    assert await room.told(2) == ["spawned", "container-crash"]
    await room.settle()


async def test_what_was_too_much_for_the_broker_is_told_later(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliverer, "LIMIT_RETRY", 0.01)
    await room.spawn("alice")
    await room.told(1)
    room.broker.go_down()
    room.broker.error = LimitExceeded("Try again in 1 s.")
    room.backend.set("alice", "failed", result="exit-code", code=1, status=1)
    async with asyncio.timeout(5):
        await room.broker.tried.wait()
    room.broker.error = None
    assert await room.told(2) == ["spawned", "container-crash"]


async def test_a_crash_waits_for_a_manager(room: Room) -> None:
    room.broker.agents.discard("manager")
    await room.spawn("alice")
    async with asyncio.timeout(5):
        await room.broker.tried.wait()
    await room.spawn("manager")
    assert await room.told(1) == ["spawned"]


async def test_a_broker_with_a_new_store_learns_all_agents(room: Room) -> None:
    await room.spawn("manager")
    await room.spawn("alice")
    await room.told(1)
    room.broker.agents.clear()
    room.lifecycle.broker_appeared()
    await room.spawn("bob")
    await room.told(2)
    assert room.broker.agents == {"manager", "alice", "bob"}


async def test_a_restart_adopts_what_runs_and_starts_what_should(room: Room) -> None:
    for name in ("alice", "bob", "carol"):
        await room.spawn(name)
    await room.order(JobVerb.STOP, "bob")
    await room.close()
    room.backend.set("carol", "failed", result="exit-code", code=1, status=1)
    room.backend.calls.clear()
    await room.open()
    await room.diary.end_of(room.lifecycle.order(JobVerb.START, "carol"))
    limited, *started = room.backend.calls
    assert limited == ("limit", "alice")
    assert started == [("configure", "carol"), ("start", "carol")]
    assert room.state("alice") is AgentState.RUNNING
    assert room.state("bob") is AgentState.STOPPED
    assert [(c.name, c.result) for c in room.diary.crashes] == [("carol", "exit-code")]


async def test_a_crash_and_restart_while_it_was_down_are_noticed(room: Room) -> None:
    await room.spawn("alice")
    await room.close()
    room.backend.come_up("alice")
    await room.open()
    assert [c.result for c in room.diary.crashes] == ["restarted"]


async def test_a_reboot_of_the_host_is_no_crash(room: Room) -> None:
    await room.spawn("alice")
    await room.close()
    room.backend.units.clear()
    room.backend.boot_id = "boot-2"
    await room.open()
    await room.diary.end_of(room.lifecycle.order(JobVerb.START, "alice"))
    assert not room.diary.crashes
    assert room.state("alice") is AgentState.RUNNING


@pytest.mark.parametrize("phase", [Phase.CREATING, Phase.DESTROYING, Phase.PURGING])
async def test_what_was_half_done_is_finished_on_start(room: Room, phase: Phase) -> None:
    room.store.save(Record("alice", BASE, phase=phase))
    await room.close()
    await room.open()
    job = room.lifecycle.destroy("alice", phase is Phase.PURGING)
    assert await room.diary.end_of(job) == DONE
    record = room.store.find("alice")
    assert record is None if phase is Phase.PURGING else record and record.phase is Phase.KEPT


async def test_a_failed_start_leaves_it_stopped(room: Room) -> None:
    await room.spawn("alice")
    await room.order(JobVerb.STOP, "alice")
    room.backend.fail["start"] = Conflict("no")
    job = room.lifecycle.order(JobVerb.START, "alice")
    assert (await room.diary.end_of(job))[0] is JobResult.FAILED
    assert room.backend.calls[-1] == ("stop", "alice")
    assert not room.diary.crashes


async def test_only_an_agent_itself_reports(room: Room) -> None:
    await room.spawn("alice")
    await room.spawn("bob")
    for principal in (agent("bob"), agent("manager"), THE_OPERATOR):
        with pytest.raises(AccessDenied):
            room.lifecycle.report(principal, "alice", Report(turn_state="idle"))
    room.lifecycle.report(agent("alice"), "alice", Report(turn_state="thinking", logged_in=True))
    [alice] = [a for a in room.lifecycle.agents if a.name == "alice"]
    assert (alice.turn_state, alice.logged_in) == (TurnState.THINKING, True)
    await room.order(JobVerb.STOP, "alice")
    assert alice.turn_state is TurnState.OFFLINE


async def test_stopping_waits_for_jobs(room: Room) -> None:
    room.backend.gate.clear()
    job = room.lifecycle.spawn("alice", SpawnOptions())
    stop = asyncio.create_task(room.lifecycle.stop())
    await asyncio.sleep(0)
    assert not stop.done()
    room.backend.gate.set()
    await stop
    assert await room.diary.end_of(job) == DONE


async def test_what_ends_with_the_hive_after_us_is_no_crash(room: Room) -> None:
    await room.spawn("alice")
    room.backend.stopping = True
    await room.close()
    room.backend.units.clear()
    room.backend.stopping = False
    await room.open()
    await room.diary.end_of(room.lifecycle.order(JobVerb.START, "alice"))
    assert not room.diary.crashes


async def test_a_lost_login_is_told_to_who_can_help(room: Room) -> None:
    await room.spawn("alice")
    await room.told(1)
    alice = agent("alice")
    for _ in range(3):  # one that says so again and again is heard once
        room.lifecycle.report(alice, "alice", Report(turn_state="needs-login"))
        room.lifecycle.report(alice, "alice", Report(turn_state="idle"))
    assert (await room.told(4))[1:] == ["needs-login", "needs-login", "logged-in"]
    assert [n.recipient for n in room.broker.sent[1:]] == ["manager", "operator", "manager"]
    assert "hivectl login alice" in room.broker.sent[1].body


async def test_a_container_of_another_version_is_told(room: Room) -> None:
    await room.spawn("alice")
    await room.told(1)
    await room.close()
    room.version = "2"
    await room.open()
    assert (await room.told(2))[1:] == ["needs-update"]
    assert [a.stale for a in room.lifecycle.agents] == [True]
    job = room.lifecycle.order(JobVerb.UPDATE, "alice")
    assert (await room.diary.end_of(job))[0] is JobResult.DONE
    assert [a.stale for a in room.lifecycle.agents] == [False]
    assert (await room.told(3))[2:] == ["rebuilt"]


async def test_without_a_manager_the_operator_hears_all_the_same(room: Room) -> None:
    room.broker.agents.discard("manager")
    await room.spawn("alice")
    room.lifecycle.report(agent("alice"), "alice", Report(turn_state="needs-login"))
    await room.told(1)
    assert [(n.kind, n.recipient) for n in room.broker.sent] == [("needs-login", "operator")]
    room.broker.agents.add("manager")
    room.lifecycle.broker_appeared()
    assert (await room.told(3))[1:] == ["spawned", "needs-login"]


async def test_each_step_of_a_job_is_logged_under_its_number(
    room: Room, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        jobs = [room.lifecycle.spawn(name, SpawnOptions()) for name in ("alice", "bob")]
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
