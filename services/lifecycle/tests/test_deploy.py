"""An agent gets another configuration, or keeps the one that it had."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.agentfile import AgentFile
from services.lifecycle.jobs.job import Job
from services.lifecycle.options import DEPLOY
from services.lifecycle.tests.house import DONE, House
from wire.errors import Conflict, InvalidArgument, NotFound
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


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = House(tmp_path)
    await house.open()
    await house.spawn("alice")
    yield house
    await house.close()


def deploy(house: House, commit: str = NEW, **options: object) -> Job:
    return house.lifecycle.deploy("alice", commit, DEPLOY.parse(options))


async def until(house: House, step: str) -> None:
    """Wait until the backend is asked for `step`."""
    async with asyncio.timeout(5):
        while step not in [call[0] for call in house.backend.calls]:
            await house.diary.news()


def reported(house: House, turn: str) -> None:
    house.lifecycle.report(agent("alice"), "alice", Report(turn_state=turn))


def commit_of(house: House) -> str:
    return next(a.spec.commit for a in house.lifecycle.agents if a.name == "alice")


async def test_it_is_built_and_restarted(house: House) -> None:
    assert commit_of(house) == ""
    house.backend.calls.clear()
    assert await house.diary.end_of(deploy(house)) == DONE
    assert [call[0] for call in house.backend.calls] == ["build", "stop", "configure", "start"]
    assert house.backend.running["alice"] == NEW
    assert (commit_of(house), house.record("alice").deployed) == (NEW, NEW)
    assert not house.diary.crashes


async def test_what_is_deployed_already_is_left_alone(house: House) -> None:
    assert await house.diary.end_of(deploy(house)) == DONE
    house.backend.calls.clear()
    assert await house.diary.end_of(deploy(house)) == DONE
    assert house.backend.calls == []


@pytest.mark.parametrize("now", [False, True])
async def test_the_end_of_a_turn_is_waited_for_unless_it_is_urgent(house: House, now: bool) -> None:
    reported(house, "thinking")
    job = deploy(house, now=now)
    if not now:
        await until(house, "build")
        await house.settle()
        assert house.lifecycle.jobs.of("alice") is job
        assert commit_of(house) == ""
        assert house.state("alice") is AgentState.RUNNING
        reported(house, "idle")
    assert await house.diary.end_of(job) == DONE
    assert house.backend.running["alice"] == NEW


async def test_the_waiting_for_a_turn_can_be_ended(house: House) -> None:
    reported(house, "thinking")
    job = deploy(house)
    await until(house, "build")
    await house.settle()
    assert commit_of(house) == ""
    house.lifecycle.hurry(job.number)
    assert await house.diary.end_of(job) == DONE
    assert house.backend.running["alice"] == NEW
    with pytest.raises(NotFound, match="over already"):
        house.lifecycle.hurry(job.number)
    job = house.lifecycle.order(JobVerb.RESTART, "alice")
    with pytest.raises(Conflict, match="only a deploy waits for a turn"):
        house.lifecycle.hurry(job.number)
    await house.diary.end_of(job)


async def test_a_crash_ends_a_turn(house: House) -> None:
    reported(house, "thinking")
    job = deploy(house)
    await until(house, "build")
    house.backend.set("alice", "activating", result="signal", code=2, status=9)
    assert await house.diary.end_of(job) == DONE
    assert house.backend.running["alice"] == NEW
    assert [crash.result for crash in house.diary.crashes] == ["signal"]


async def test_a_turn_that_a_restarted_lifecycle_did_not_hear_of_is_waited_for(
    house: House,
) -> None:
    reported(house, "thinking")
    house.broker.mail.add("alice")
    number = deploy(house).number
    await until(house, "build")
    await house.close()
    await house.open()
    job = house.lifecycle.jobs.of("alice")
    assert job
    assert job.number == number
    async with asyncio.timeout(5):
        while not job.waits:
            await house.diary.news()
    await house.settle()
    assert house.state("alice") is AgentState.RUNNING
    reported(house, "thinking")
    house.broker.mail.clear()
    reported(house, "idle")
    assert await house.diary.end_of(job) == DONE
    assert house.backend.running["alice"] == NEW


async def test_a_build_that_fails_changes_nothing(house: House) -> None:
    house.backend.fail["build"] = Conflict("It could not be built.\nE: no such package")
    invocation = house.backend.units["alice"].invocation
    result, note = await house.diary.end_of(deploy(house))
    assert (result, note) == (JobResult.FAILED, "It could not be built.\nE: no such package")
    assert house.backend.units["alice"].invocation == invocation
    assert commit_of(house) == ""


async def test_what_does_not_start_is_taken_back(house: House) -> None:
    assert await house.diary.end_of(deploy(house, OLD)) == DONE
    house.backend.broken.add(NEW)
    result, note = await house.diary.end_of(deploy(house))
    assert result is JobResult.FAILED
    assert "does not start with its configuration at bbbbbbbbbbbb: It did not come up." in note
    assert house.backend.running["alice"] == OLD
    assert house.state("alice") is AgentState.RUNNING
    assert (commit_of(house), house.record("alice").deployed) == (OLD, OLD)
    house.backend.broken.clear()
    assert await house.diary.end_of(deploy(house)) == DONE


async def test_when_nothing_starts_any_more_it_is_said(house: House) -> None:
    house.backend.fail["start"] = Conflict("The host is full.")
    result, note = await house.diary.end_of(deploy(house))
    assert result is JobResult.FAILED
    assert "It does not start with its former configuration either: The host is full." in note
    assert (commit_of(house), house.state("alice")) == ("", AgentState.STOPPED)


async def test_a_failed_deploy_that_is_killed_at_any_step_ends_as_failed(tmp_path: Path) -> None:
    points, point = 1, 0
    while point < points:
        point += 1
        folder = tmp_path / str(point)
        folder.mkdir()
        house = House(folder)
        await house.open()
        await house.spawn("alice")
        assert await house.diary.end_of(deploy(house, OLD)) == DONE
        house.backend.broken.add(NEW)
        if point == 1:
            house.backend.points = 0
            await house.diary.end_of(deploy(house))
            points = house.backend.points
        house.backend.points, house.backend.halt_at = 0, point
        house.backend.built.discard(NEW)
        deploy(house)
        await house.backend.halted.wait()
        await house.kill()
        await house.open()
        job = house.lifecycle.jobs.of("alice")
        assert job
        result, _note = await house.diary.end_of(job)
        await house.settle()
        assert result is JobResult.FAILED, point
        assert (commit_of(house), house.backend.running["alice"]) == (OLD, OLD), point
        assert house.state("alice") is AgentState.RUNNING, point
        assert not house.diary.crashes, point
        await house.close()
    assert points > 5


async def test_one_that_was_killed_at_its_very_end_is_not_started_twice(house: House) -> None:
    house.backend.points = 0
    assert await house.diary.end_of(deploy(house, OLD)) == DONE
    house.backend.halt_at, house.backend.points = house.backend.points, 0
    deploy(house)
    async with asyncio.timeout(5):
        await house.backend.halted.wait()
    invocation = house.backend.units["alice"].invocation
    assert (house.backend.running["alice"], house.state("alice")) == (NEW, AgentState.RUNNING)
    await house.kill()
    await house.open()
    job = house.lifecycle.jobs.of("alice")
    assert job
    assert await house.diary.end_of(job) == DONE
    assert house.backend.units["alice"].invocation == invocation


@pytest.mark.parametrize("state", [AgentState.STOPPED, AgentState.SLEEPING])
async def test_what_does_not_run_has_it_at_its_next_start(house: House, state: AgentState) -> None:
    if state is AgentState.STOPPED:
        await house.order(JobVerb.STOP, "alice")
    else:
        reported(house, "idle")
        await house.diary.end_of(house.lifecycle.order(JobVerb.SLEEP, "alice"))
    assert await house.diary.end_of(deploy(house)) == DONE
    assert house.state("alice") is state
    assert (commit_of(house), house.backend.laid["alice"]) == (NEW, NEW)
    await house.order(JobVerb.START, "alice")
    assert house.backend.running["alice"] == NEW


async def booted(house: House) -> None:
    """Reboot the host in the middle of a turn that a deploy waits for."""
    await house.close()
    house.backend.set("alice", "inactive")
    house.backend.boot_id = "boot-2"
    await house.open()


@pytest.mark.parametrize("outcome", ["done", "failed", "cancelled"])
async def test_after_a_boot_in_the_middle_of_it_the_agent_runs(house: House, outcome: str) -> None:
    reported(house, "thinking")
    deploy(house)
    await until(house, "build")
    await house.settle()
    house.backend.built.clear()
    house.backend.gate.clear()
    await booted(house)
    job = house.lifecycle.jobs.of("alice")
    assert job
    if outcome == "failed":
        house.backend.fail["build"] = Conflict("The network is not there yet.")
    if outcome == "cancelled":
        async with asyncio.timeout(5):
            while not job.waits:
                await house.diary.news()
        house.lifecycle.cancel(job.number)
    house.backend.gate.set()
    result, _note = await house.diary.end_of(job)
    assert result == outcome
    await house.settle()
    assert house.state("alice") is AgentState.RUNNING
    assert house.backend.running["alice"] == (NEW if outcome == "done" else "")
    assert not house.diary.crashes


async def given_up(house: House) -> None:
    """Let alice crash until systemd gives up."""
    house.backend.set("alice", "activating", result="exit-code")
    house.backend.set("alice", "failed", result="start-limit-hit")
    await house.settle()
    assert house.state("alice") is AgentState.FAILED


async def test_what_was_given_up_is_started_with_it(house: House) -> None:
    await given_up(house)
    assert await house.diary.end_of(deploy(house)) == DONE
    assert house.state("alice") is AgentState.RUNNING
    assert house.backend.running["alice"] == NEW


async def test_what_was_given_up_and_does_not_start_either_way_is_not_tried_the_old_way(
    house: House,
) -> None:
    assert await house.diary.end_of(deploy(house, OLD)) == DONE
    await given_up(house)
    house.backend.broken.add(NEW)
    result, note = await house.diary.end_of(deploy(house))
    assert (result, "either" in note) == (JobResult.FAILED, False)
    assert (commit_of(house), house.backend.laid["alice"]) == (OLD, OLD)
    assert house.state("alice") is AgentState.STOPPED


async def test_a_start_builds_what_is_missing(house: House) -> None:
    assert await house.diary.end_of(deploy(house)) == DONE
    await house.order(JobVerb.STOP, "alice")
    house.backend.built.clear()
    await house.order(JobVerb.START, "alice")
    assert NEW in house.backend.built
    house.backend.built.clear()
    job = house.lifecycle.order(JobVerb.REBUILD, "alice")
    assert await house.diary.end_of(job) == (JobResult.DONE, "its configuration built again")


async def test_cancelled_in_a_turn_it_leaves_the_container_alone(house: House) -> None:
    reported(house, "thinking")
    job = deploy(house)
    await until(house, "build")
    invocation = house.backend.units["alice"].invocation
    house.lifecycle.cancel(job.number)
    result, _note = await house.diary.end_of(job)
    assert result is JobResult.CANCELLED
    assert ("stop_build", "alice") in house.backend.calls
    assert house.backend.units["alice"].invocation == invocation


async def test_a_stopping_service_does_not_wait_for_the_end_of_a_turn(house: House) -> None:
    reported(house, "thinking")
    deploy(house)
    await until(house, "build")
    await house.settle()
    async with asyncio.timeout(5):
        await house.lifecycle.jobs.drain(3600)
    assert [job.verb for job in house.store.jobs()] == [JobVerb.DEPLOY]


@pytest.mark.parametrize("verb", ["build", "start", "configure"])
async def test_a_host_that_goes_down_is_no_verdict(house: House, verb: str) -> None:
    assert await house.diary.end_of(deploy(house, OLD)) == DONE
    house.backend.fail[verb] = Conflict("It was canceled.")
    house.backend.stopping = True
    job = deploy(house)
    await house.lifecycle.jobs.released(job.number)
    assert not house.diary.finished[job.number].done()
    await house.close()
    house.backend.fail.clear()
    house.backend.stopping = False
    await house.open()
    again = house.lifecycle.jobs.of("alice")
    assert again
    assert again.number == job.number
    assert await house.diary.end_of(again) == DONE
    assert (commit_of(house), house.backend.running["alice"]) == (NEW, NEW)


async def test_a_spawn_is_not_given_up_with_the_host(tmp_path: Path) -> None:
    house = House(tmp_path)
    await house.open()
    house.backend.fail["start"] = Conflict("It was canceled.")
    house.backend.stopping = True
    job = house.lifecycle.spawn("bob", SpawnOptions(commit=OLD))
    await house.lifecycle.jobs.released(job.number)
    await house.close()
    house.backend.fail.clear()
    house.backend.stopping = False
    await house.open()
    again = house.lifecycle.jobs.of("bob")
    assert again
    assert await house.diary.end_of(again) == DONE
    assert house.backend.running["bob"] == OLD
    await house.close()


async def test_an_agent_is_spawned_from_what_was_approved(tmp_path: Path) -> None:
    house = House(tmp_path)
    await house.open()
    job = house.lifecycle.spawn("bob", SpawnOptions(commit=OLD))
    assert await house.diary.end_of(job) == DONE
    assert (house.backend.running["bob"], house.record("bob").deployed) == (OLD, OLD)

    # The spawn fails: the kept data is unchanged.
    await house.diary.end_of(house.lifecycle.destroy("bob", False))
    house.backend.broken.add(NEW)
    result, _note = await house.diary.end_of(house.lifecycle.spawn("bob", SpawnOptions(commit=NEW)))
    assert result is JobResult.FAILED
    assert house.record("bob").deployed == OLD
    assert await house.diary.end_of(house.lifecycle.spawn("bob", SpawnOptions())) == DONE
    assert house.backend.running["bob"] == OLD
    await house.close()


async def test_its_configuration_says_when_it_sleeps(house: House) -> None:
    house.backend.configurations[NEW] = AgentFile(sleep_after=7)
    assert house.lifecycle.sleeps_after("alice") == 0
    assert await house.diary.end_of(deploy(house)) == DONE
    assert house.lifecycle.sleeps_after("alice") == 7


async def test_what_cannot_be_deployed_is_refused(house: House) -> None:
    with pytest.raises(NotFound):
        house.lifecycle.deploy("bob", NEW, DeployOptions())
    with pytest.raises(InvalidArgument, match="40"):
        house.lifecycle.deploy("alice", "main", DeployOptions())
    with pytest.raises(InvalidArgument, match="now"):
        deploy(house, later=True)
    with pytest.raises(InvalidArgument, match="valid boolean"):
        deploy(house, now="yes")
    reported(house, "thinking")
    job = deploy(house)
    assert deploy(house) is job
    with pytest.raises(Conflict, match="being deployed"):
        deploy(house, OLD)
    with pytest.raises(Conflict, match="being deployed"):
        house.lifecycle.order(JobVerb.RESTART, "alice")
    reported(house, "idle")
    assert await house.diary.end_of(job) == DONE
