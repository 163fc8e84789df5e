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
from services.lifecycle.tests.house import DONE, House
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
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = House(tmp_path)
    await house.open()
    yield house
    await house.close()


async def test_a_spawn_ends_when_the_container_runs(house: House) -> None:
    house.backend.gate.clear()
    job = house.lifecycle.spawn("alice", SpawnOptions())
    assert not house.diary.finished[job.number].done()
    house.backend.gate.set()
    assert await house.diary.end_of(job) == DONE
    assert house.backend.calls == [("configure", "alice"), ("start", "alice")]
    assert house.state("alice") is AgentState.RUNNING
    assert "alice" in house.broker.agents
    assert await house.told(1) == ["spawned"]


async def test_the_manager_is_not_told_of_its_own_spawn(house: House) -> None:
    await house.spawn("manager")
    await house.spawn("alice")
    assert await house.told(1) == ["spawned"]
    assert "alice" in house.broker.sent[0].body


@pytest.mark.parametrize(
    "name", ["", "Alice", "../x", "a" * 10, "9a", "a_b", "ä", "operator", "system", "a\n"]
)
async def test_a_bad_name_is_refused_with_the_rule(house: House, name: str) -> None:
    with pytest.raises(
        InvalidArgument, match=r"is not a valid agent name: .*(lower-case|reserved)"
    ):
        house.lifecycle.spawn(name, SpawnOptions())
    assert not house.backend.calls


@pytest.mark.parametrize(
    "options",
    [{"colour": "red"}, {"model": 3}, {"model": "x" * 129}, {"model": "\n"}, {"commit": "main"}],
)
async def test_bad_options_are_refused(house: House, options: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument):
        house.lifecycle.spawn("alice", SPAWN.parse(options))


async def test_a_taken_name_is_refused(house: House) -> None:
    await house.spawn("alice")
    with pytest.raises(AlreadyExists):
        house.lifecycle.spawn("alice", SpawnOptions())


async def test_the_same_request_joins_and_another_conflicts(house: House) -> None:
    await house.spawn("alice")
    house.backend.gate.clear()
    job = house.lifecycle.order(JobVerb.STOP, "alice")
    assert house.lifecycle.order(JobVerb.STOP, "alice") is job
    with pytest.raises(Conflict, match="being stopped"):
        house.lifecycle.order(JobVerb.START, "alice")
    with pytest.raises(Conflict):
        house.lifecycle.destroy("alice", False)
    house.backend.gate.set()
    assert await house.diary.end_of(job) == DONE


async def test_so_many_start_at_once_that_each_is_in_time(house: House) -> None:
    jobs = [house.lifecycle.spawn(f"n{i}", SpawnOptions()) for i in range(3 * STARTS_AT_ONCE)]
    assert [await house.diary.end_of(job) for job in jobs] == [DONE] * len(jobs)
    assert house.backend.most_starting == STARTS_AT_ONCE


@pytest.mark.parametrize("where", ["configure", "start"])
async def test_a_failed_spawn_undoes_what_it_did(house: House, where: str) -> None:
    house.backend.fail[where] = Conflict("It does not come up.")
    result = await house.diary.end_of(house.lifecycle.spawn("alice", SpawnOptions()))
    assert result == (JobResult.FAILED, "It does not come up.")
    assert ("destroy", "alice", True) in house.backend.calls
    assert house.store.find("alice") is None
    assert not list(house.lifecycle.agents)
    assert "alice" not in house.broker.agents
    assert not house.diary.crashes


async def test_a_failed_spawn_keeps_the_data_of_an_earlier_agent(house: House) -> None:
    house.backend.kept["alice"] = BASE
    house.backend.fail["start"] = Conflict("no")
    await house.diary.end_of(house.lifecycle.spawn("alice", SpawnOptions()))
    assert ("destroy", "alice", False) in house.backend.calls
    assert house.record("alice").phase is Phase.KEPT


async def test_destroy_keeps_data_and_uids_unless_it_purges(house: House) -> None:
    await house.spawn("alice")
    base = house.record("alice").uid_base
    assert await house.diary.end_of(house.lifecycle.destroy("alice", False)) == DONE
    assert ("destroy", "alice", False) in house.backend.calls
    assert "alice" not in house.broker.agents
    with pytest.raises(NotFound, match="kept"):
        house.lifecycle.destroy("alice", False)
    await house.spawn("alice")
    assert house.record("alice").uid_base == base
    assert await house.diary.end_of(house.lifecycle.destroy("alice", True)) == DONE
    assert house.store.find("alice") is None
    with pytest.raises(NotFound):
        house.lifecycle.destroy("alice", True)
    assert not house.diary.crashes


async def test_uid_ranges_are_not_shared(house: House) -> None:
    await house.spawn("alice")
    first = house.record("alice").uid_base
    house.backend.kept["bob"] = first  # somebody copied alice's data
    await house.spawn("bob")
    assert house.record("bob").uid_base != first


async def test_kept_data_keeps_its_owner(house: House) -> None:
    house.backend.kept["alice"] = BASE + 0x70_0000
    await house.spawn("alice")
    assert house.record("alice").uid_base == BASE + 0x70_0000


async def test_a_crash_is_told_once_with_its_cause(house: House) -> None:
    await house.spawn("alice")
    invocation = house.record("alice").seen
    house.backend.set("alice", "failed", result="signal", code=2, status=9)
    house.backend.set("alice", "activating")
    house.backend.come_up("alice")
    await house.settle()
    assert [c.result for c in house.diary.crashes] == ["signal"]
    assert await house.told(2) == ["spawned", "container-crash"]
    notice = house.broker.sent[1]
    assert "killed by SIGKILL" in notice.body
    assert notice.dedupe_key == f"container-crash:alice:{invocation}:to-manager"


async def test_a_second_crash_is_told_too(house: House) -> None:
    await house.spawn("alice")
    for _ in range(2):
        house.backend.set("alice", "failed", result="exit-code", code=1, status=1)
        house.backend.come_up("alice")
    await house.settle()
    assert len({c.invocation for c in house.diary.crashes}) == 2


async def test_an_end_by_a_job_is_no_crash(house: House) -> None:
    await house.spawn("alice")
    await house.order(JobVerb.STOP, "alice")
    await house.order(JobVerb.START, "alice")
    await house.order(JobVerb.RESTART, "alice")
    await house.diary.end_of(house.lifecycle.destroy("alice", True))
    await house.settle()
    assert not house.diary.crashes


async def test_a_crash_waits_on_disk_for_the_broker(house: House) -> None:
    await house.spawn("alice")
    await house.told(1)
    house.broker.go_down()
    house.backend.set("alice", "failed", result="exit-code", code=1, status=1)
    async with asyncio.timeout(5):
        await house.broker.tried.wait()
    await house.close()
    await house.open()
    assert [n.kind for n in house.store.notices()] == ["container-crash"]
    house.broker.error = None
    house.lifecycle.broker_appeared()
    assert await house.told(2) == ["spawned", "container-crash"]
    await house.settle()


async def test_what_was_too_much_for_the_broker_is_told_later(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliverer, "LIMIT_RETRY", 0.01)
    await house.spawn("alice")
    await house.told(1)
    house.broker.go_down()
    house.broker.error = LimitExceeded("Try again in 1 s.")
    house.backend.set("alice", "failed", result="exit-code", code=1, status=1)
    async with asyncio.timeout(5):
        await house.broker.tried.wait()
    house.broker.error = None
    assert await house.told(2) == ["spawned", "container-crash"]


async def test_a_crash_waits_for_a_manager(house: House) -> None:
    house.broker.agents.discard("manager")
    await house.spawn("alice")
    async with asyncio.timeout(5):
        await house.broker.tried.wait()
    await house.spawn("manager")
    assert await house.told(1) == ["spawned"]


async def test_a_broker_with_a_new_store_learns_all_agents(house: House) -> None:
    await house.spawn("manager")
    await house.spawn("alice")
    await house.told(1)
    house.broker.agents.clear()
    house.lifecycle.broker_appeared()
    await house.spawn("bob")
    await house.told(2)
    assert house.broker.agents == {"manager", "alice", "bob"}


async def test_a_restart_adopts_what_runs_and_starts_what_should(house: House) -> None:
    for name in ("alice", "bob", "carol"):
        await house.spawn(name)
    await house.order(JobVerb.STOP, "bob")
    await house.close()
    house.backend.set("carol", "failed", result="exit-code", code=1, status=1)
    house.backend.calls.clear()
    await house.open()
    await house.diary.end_of(house.lifecycle.order(JobVerb.START, "carol"))
    limited, *started = house.backend.calls
    assert limited == ("limit", "alice")
    assert started == [("configure", "carol"), ("start", "carol")]
    assert house.state("alice") is AgentState.RUNNING
    assert house.state("bob") is AgentState.STOPPED
    assert [(c.name, c.result) for c in house.diary.crashes] == [("carol", "exit-code")]


async def test_a_crash_and_restart_while_it_was_down_are_noticed(house: House) -> None:
    await house.spawn("alice")
    await house.close()
    house.backend.come_up("alice")
    await house.open()
    assert [c.result for c in house.diary.crashes] == ["restarted"]


async def test_a_reboot_of_the_host_is_no_crash(house: House) -> None:
    await house.spawn("alice")
    await house.close()
    house.backend.units.clear()
    house.backend.boot_id = "boot-2"
    await house.open()
    await house.diary.end_of(house.lifecycle.order(JobVerb.START, "alice"))
    assert not house.diary.crashes
    assert house.state("alice") is AgentState.RUNNING


@pytest.mark.parametrize("phase", [Phase.CREATING, Phase.DESTROYING, Phase.PURGING])
async def test_what_was_half_done_is_finished_on_start(house: House, phase: Phase) -> None:
    house.store.save(Record("alice", BASE, phase=phase))
    await house.close()
    await house.open()
    job = house.lifecycle.destroy("alice", phase is Phase.PURGING)
    assert await house.diary.end_of(job) == DONE
    record = house.store.find("alice")
    assert record is None if phase is Phase.PURGING else record and record.phase is Phase.KEPT


async def test_a_failed_start_leaves_it_stopped(house: House) -> None:
    await house.spawn("alice")
    await house.order(JobVerb.STOP, "alice")
    house.backend.fail["start"] = Conflict("no")
    job = house.lifecycle.order(JobVerb.START, "alice")
    assert (await house.diary.end_of(job))[0] is JobResult.FAILED
    assert house.backend.calls[-1] == ("stop", "alice")
    assert not house.diary.crashes


async def test_only_an_agent_itself_reports(house: House) -> None:
    await house.spawn("alice")
    await house.spawn("bob")
    for principal in (agent("bob"), agent("manager"), THE_OPERATOR):
        with pytest.raises(AccessDenied):
            house.lifecycle.report(principal, "alice", Report(turn_state="idle"))
    house.lifecycle.report(agent("alice"), "alice", Report(turn_state="thinking", logged_in=True))
    [alice] = [a for a in house.lifecycle.agents if a.name == "alice"]
    assert (alice.turn_state, alice.logged_in) == (TurnState.THINKING, True)
    await house.order(JobVerb.STOP, "alice")
    assert alice.turn_state is TurnState.OFFLINE


async def test_stopping_waits_for_jobs(house: House) -> None:
    house.backend.gate.clear()
    job = house.lifecycle.spawn("alice", SpawnOptions())
    stop = asyncio.create_task(house.lifecycle.stop())
    await asyncio.sleep(0)
    assert not stop.done()
    house.backend.gate.set()
    await stop
    assert await house.diary.end_of(job) == DONE


async def test_what_ends_with_the_hive_after_us_is_no_crash(house: House) -> None:
    await house.spawn("alice")
    house.backend.stopping = True
    await house.close()
    house.backend.units.clear()
    house.backend.stopping = False
    await house.open()
    await house.diary.end_of(house.lifecycle.order(JobVerb.START, "alice"))
    assert not house.diary.crashes


async def test_a_lost_login_is_told_to_who_can_help(house: House) -> None:
    await house.spawn("alice")
    await house.told(1)
    alice = agent("alice")
    for _ in range(3):  # one that says so again and again is heard once
        house.lifecycle.report(alice, "alice", Report(turn_state="needs-login"))
        house.lifecycle.report(alice, "alice", Report(turn_state="idle"))
    assert (await house.told(4))[1:] == ["needs-login", "needs-login", "logged-in"]
    assert [n.recipient for n in house.broker.sent[1:]] == ["manager", "operator", "manager"]
    assert "hivectl login alice" in house.broker.sent[1].body


async def test_a_container_of_another_version_is_told(house: House) -> None:
    await house.spawn("alice")
    await house.told(1)
    await house.close()
    house.version = "2"
    await house.open()
    assert (await house.told(2))[1:] == ["needs-update"]
    assert [a.stale for a in house.lifecycle.agents] == [True]
    job = house.lifecycle.order(JobVerb.UPDATE, "alice")
    assert (await house.diary.end_of(job))[0] is JobResult.DONE
    assert [a.stale for a in house.lifecycle.agents] == [False]
    assert (await house.told(3))[2:] == ["rebuilt"]


async def test_without_a_manager_the_operator_hears_all_the_same(house: House) -> None:
    house.broker.agents.discard("manager")
    await house.spawn("alice")
    house.lifecycle.report(agent("alice"), "alice", Report(turn_state="needs-login"))
    await house.told(1)
    assert [(n.kind, n.recipient) for n in house.broker.sent] == [("needs-login", "operator")]
    house.broker.agents.add("manager")
    house.lifecycle.broker_appeared()
    assert (await house.told(3))[1:] == ["spawned", "needs-login"]


async def test_each_step_of_a_job_is_logged_under_its_number(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        jobs = [house.lifecycle.spawn(name, SpawnOptions()) for name in ("alice", "bob")]
        for job in jobs:
            assert await house.diary.end_of(job) == DONE
    for job in jobs:
        lines = [fields(r) | {"text": r.getMessage()} for r in caplog.records]
        assert [line["text"] for line in lines if line.get("HIVE_JOB") == job.number] == [
            f"{job.agent}: its inbox is made",
            f"{job.agent}: its files are written",
            f"{job.agent}: its container is started",
            f"spawn of {job.agent} done",
        ]
        assert all(
            line["HIVE_AGENT"] == job.agent for line in lines if line.get("HIVE_JOB") == job.number
        )
