"""An agent gets another configuration, or keeps the one that it had."""

import asyncio
from pathlib import Path

import pytest

from services.agentfile import AgentFile
from services.lifecycle.commands import Peer
from services.lifecycle.jobs.job import Job
from services.lifecycle.options import DEPLOY
from services.lifecycle.tests.room import DONE, Room
from wire.errors import Conflict, InvalidArgument, NotFound
from wire.principal import agent
from wire.records.lifecycle import (
    AgentState,
    CommandIssued,
    CommandResult,
    CommandVerb,
    DeployOptions,
    JobResult,
    JobVerb,
    Report,
    ResourceChanges,
    SpawnOptions,
)

OLD, NEW = "a" * 40, "b" * 40


@pytest.fixture
async def room(room: Room) -> Room:
    await room.spawn("alice")
    return room


def deploy(room: Room, commit: str = NEW, **options: object) -> Job:
    return room.orders.deploy("alice", commit, DEPLOY.parse(options))


async def until(room: Room, step: str) -> None:
    """Wait until the backend is asked for `step`."""
    await room.until(lambda: step in [call[0] for call in room.backend.calls])


def reported(room: Room, turn: str, *, in_turn: bool | None = None) -> None:
    room.harnesses.report(agent("alice"), "alice", Report(turn_state=turn, in_turn=in_turn))


def commit_of(room: Room) -> str:
    return next(a.spec.commit for a in room.agents if a.name == "alice")


async def test_it_is_built_and_restarted(room: Room) -> None:
    assert commit_of(room) == ""
    room.backend.calls.clear()
    assert await room.diary.end_of(deploy(room)) == DONE
    assert [call[0] for call in room.backend.calls] == ["build", "stop", "configure", "start"]
    assert room.backend.running["alice"] == NEW
    assert (commit_of(room), room.record("alice").deployed) == (NEW, NEW)
    assert not room.diary.crashes


@pytest.mark.parametrize("works", [True, False])
async def test_an_agent_that_loses_a_project_keeps_its_objects(room: Room, works: bool) -> None:
    web, docs = ({"name": name} for name in ("web", "docs"))
    room.backend.configurations[OLD] = AgentFile.model_validate({"projects": [web, docs]})
    room.backend.configurations[NEW] = AgentFile.model_validate({"projects": [docs]})
    gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    issued: list[CommandIssued] = []
    stopped: list[bool] = []

    def obey(command: CommandIssued) -> None:
        issued.append(command)
        stopped.append("stop" in [call[0] for call in room.backend.calls])
        result = CommandResult("Done.") if works else CommandResult(error="The disk is full.")
        asyncio.get_running_loop().call_soon(
            lambda: room.harnesses.command_done(agent("alice"), "alice", command.id, result)
        )

    room.harnesses.connected(agent("alice"), "alice", Peer(":1.7", obey, lambda: gone))
    assert await room.diary.end_of(deploy(room, OLD)) == DONE
    assert issued == []
    room.backend.calls.clear()
    assert await room.diary.end_of(deploy(room)) == DONE
    [command] = issued
    assert (command.verb, command.arguments.value) == (CommandVerb.KEEP_OBJECTS, "web")
    assert stopped == [False], "the container shows the repository still"
    assert commit_of(room) == NEW


async def test_an_agent_that_does_not_run_loses_a_project(room: Room) -> None:
    room.backend.configurations[OLD] = AgentFile.model_validate({"projects": [{"name": "web"}]})
    assert await room.diary.end_of(deploy(room, OLD)) == DONE
    await room.order(JobVerb.STOP, "alice")
    assert await room.diary.end_of(deploy(room)) == DONE
    assert commit_of(room) == NEW


async def test_what_is_deployed_already_is_left_alone(room: Room) -> None:
    assert await room.diary.end_of(deploy(room)) == DONE
    room.backend.calls.clear()
    assert await room.diary.end_of(deploy(room)) == DONE
    assert room.backend.calls == []


@pytest.mark.parametrize("now", [False, True])
async def test_the_end_of_a_turn_is_waited_for_unless_it_is_urgent(room: Room, now: bool) -> None:
    reported(room, "thinking")
    job = deploy(room, now=now)
    if not now:
        await until(room, "build")
        await room.settle()
        assert room.jobs.of("alice") is job
        assert commit_of(room) == ""
        assert room.state("alice") is AgentState.RUNNING
        reported(room, "idle")
    assert await room.diary.end_of(job) == DONE
    assert room.backend.running["alice"] == NEW


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ("waiting", "which waits for the operator; `hivectl questions` shows for what"),
        ("rate-limited", "in which the model's API refuses the requests"),
        ("error", "in which the model's API refuses the requests"),
    ],
)
async def test_a_turn_that_waits_is_waited_for(
    room: Room, state: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    reported(room, "thinking", in_turn=True)
    job = deploy(room)
    await until(room, "build")
    await room.settle()
    reported(room, state)
    for _ in range(20):
        await asyncio.sleep(0)
    assert room.jobs.of("alice") is job
    assert f"alice: waiting for the end of the turn, {why}" in caplog.messages
    reported(room, "thinking")
    await room.settle()
    assert room.jobs.of("alice") is job
    reported(room, "idle", in_turn=False)
    assert await room.diary.end_of(job) == DONE
    assert room.backend.running["alice"] == NEW


@pytest.mark.parametrize("state", ["rate-limited", "error", "needs-login"])
async def test_a_limit_between_two_turns_is_not_waited_for(room: Room, state: str) -> None:
    reported(room, "thinking", in_turn=True)
    reported(room, state, in_turn=True)
    job = deploy(room)
    await until(room, "build")
    await room.settle()
    if state != "needs-login":
        assert room.jobs.of("alice") is job
        reported(room, state, in_turn=False)
    assert await room.diary.end_of(job) == DONE


async def test_the_waiting_for_a_turn_can_be_ended(room: Room) -> None:
    reported(room, "thinking")
    job = deploy(room)
    await until(room, "build")
    await room.settle()
    assert commit_of(room) == ""
    room.orders.hurry(job.number)
    assert await room.diary.end_of(job) == DONE
    assert room.backend.running["alice"] == NEW
    with pytest.raises(NotFound, match="has ended"):
        room.orders.hurry(job.number)
    job = room.orders.order(JobVerb.RESTART, "alice")
    with pytest.raises(Conflict, match="only a deploy waits for a turn"):
        room.orders.hurry(job.number)
    await room.diary.end_of(job)


async def test_whoever_must_not_wait_for_an_endless_turn_learns_what_to_do(room: Room) -> None:
    reported(room, "thinking")
    job = deploy(room)
    await until(room, "build")
    await room.settle()
    remedy = rf"waits for the end of its turn. `hivectl cancel-job {job.number}` cancels that at"
    for verb in (JobVerb.STOP, JobVerb.RESTART):
        with pytest.raises(Conflict, match=remedy):
            room.orders.order(verb, "alice")
    with pytest.raises(Conflict, match=remedy):
        room.orders.destroy("alice", purge=False)
    with pytest.raises(Conflict, match=remedy):
        await room.parts.settings.set_resources("alice", ResourceChanges(cpu_weight=1))
    room.orders.cancel(job.number)
    assert (await room.diary.end_of(job))[0] == "cancelled"
    await room.order(JobVerb.STOP, "alice")
    assert room.state("alice") is AgentState.STOPPED


async def test_a_crash_ends_a_turn(room: Room) -> None:
    reported(room, "thinking")
    job = deploy(room)
    await until(room, "build")
    room.backend.set("alice", "activating", result="signal", code=2, status=9)
    assert await room.diary.end_of(job) == DONE
    assert room.backend.running["alice"] == NEW
    assert [crash.result for crash in room.diary.crashes] == ["signal"]


async def test_a_turn_that_a_restarted_lifecycle_did_not_hear_of_is_waited_for(
    room: Room,
) -> None:
    reported(room, "thinking")
    room.broker.mail.add("alice")
    number = deploy(room).number
    await until(room, "build")
    await room.close()
    await room.open()
    job = room.jobs.of("alice")
    assert job
    assert job.number == number
    await room.until(lambda: job.waits)
    await room.settle()
    assert room.state("alice") is AgentState.RUNNING
    reported(room, "thinking")
    room.broker.mail.clear()
    reported(room, "idle")
    assert await room.diary.end_of(job) == DONE
    assert room.backend.running["alice"] == NEW


async def test_a_build_that_fails_changes_nothing(room: Room) -> None:
    room.backend.fail["build"] = Conflict("It could not be built.\nE: no such package")
    invocation = room.backend.units["alice"].invocation
    result, note = await room.diary.end_of(deploy(room))
    assert (result, note) == (JobResult.FAILED, "It could not be built.\nE: no such package")
    assert room.backend.units["alice"].invocation == invocation
    assert commit_of(room) == ""


async def test_what_does_not_start_is_taken_back(room: Room) -> None:
    assert await room.diary.end_of(deploy(room, OLD)) == DONE
    room.backend.broken.add(NEW)
    result, note = await room.diary.end_of(deploy(room))
    assert result is JobResult.FAILED
    assert "does not start with its configuration at bbbbbbbbbbbb: It did not come up." in note
    assert room.backend.running["alice"] == OLD
    assert room.state("alice") is AgentState.RUNNING
    assert (commit_of(room), room.record("alice").deployed) == (OLD, OLD)
    room.backend.broken.clear()
    assert await room.diary.end_of(deploy(room)) == DONE


async def test_when_nothing_starts_any_more_it_is_said(room: Room) -> None:
    room.backend.fail["start"] = Conflict("The host is full.")
    result, note = await room.diary.end_of(deploy(room))
    assert result is JobResult.FAILED
    assert "It does not start with its previous configuration either: The host is full." in note
    assert (commit_of(room), room.state("alice")) == ("", AgentState.STOPPED)


async def test_a_failed_deploy_that_is_killed_at_any_step_ends_as_failed(tmp_path: Path) -> None:
    points, point = 1, 0
    while point < points:
        point += 1
        folder = tmp_path / str(point)
        folder.mkdir()
        room = Room(folder)
        await room.open()
        await room.spawn("alice")
        assert await room.diary.end_of(deploy(room, OLD)) == DONE
        room.backend.broken.add(NEW)
        if point == 1:
            room.backend.points = 0
            await room.diary.end_of(deploy(room))
            points = room.backend.points
        room.backend.points, room.backend.halt_at = 0, point
        room.backend.built.discard(NEW)
        deploy(room)
        await room.backend.halted.wait()
        await room.kill()
        await room.open()
        job = room.jobs.of("alice")
        assert job
        result, _note = await room.diary.end_of(job)
        await room.settle()
        assert result is JobResult.FAILED, point
        assert (commit_of(room), room.backend.running["alice"]) == (OLD, OLD), point
        assert room.state("alice") is AgentState.RUNNING, point
        assert not room.diary.crashes, point
        await room.close()
    assert points > 5


async def test_one_that_was_killed_at_its_very_end_is_not_started_twice(room: Room) -> None:
    room.backend.points = 0
    assert await room.diary.end_of(deploy(room, OLD)) == DONE
    room.backend.halt_at, room.backend.points = room.backend.points, 0
    deploy(room)
    async with asyncio.timeout(5):
        await room.backend.halted.wait()
    invocation = room.backend.units["alice"].invocation
    assert (room.backend.running["alice"], room.state("alice")) == (NEW, AgentState.RUNNING)
    await room.kill()
    await room.open()
    job = room.jobs.of("alice")
    assert job
    assert await room.diary.end_of(job) == DONE
    assert room.backend.units["alice"].invocation == invocation


@pytest.mark.parametrize("state", [AgentState.STOPPED, AgentState.SLEEPING])
async def test_what_does_not_run_has_it_at_its_next_start(room: Room, state: AgentState) -> None:
    if state is AgentState.STOPPED:
        await room.order(JobVerb.STOP, "alice")
    else:
        reported(room, "idle")
        await room.diary.end_of(room.orders.order(JobVerb.SLEEP, "alice"))
    assert await room.diary.end_of(deploy(room)) == DONE
    assert room.state("alice") is state
    assert (commit_of(room), room.backend.laid["alice"]) == (NEW, NEW)
    await room.order(JobVerb.START, "alice")
    assert room.backend.running["alice"] == NEW


async def booted(room: Room) -> None:
    """Reboot the host in the middle of a turn that a deploy waits for."""
    await room.close()
    room.backend.set("alice", "inactive")
    room.backend.boot_id = "boot-2"
    await room.open()


@pytest.mark.parametrize("outcome", ["done", "failed", "cancelled"])
async def test_after_a_boot_in_the_middle_of_it_the_agent_runs(room: Room, outcome: str) -> None:
    reported(room, "thinking")
    deploy(room)
    await until(room, "build")
    await room.settle()
    room.backend.built.clear()
    room.backend.gate.clear()
    await booted(room)
    job = room.jobs.of("alice")
    assert job
    if outcome == "failed":
        room.backend.fail["build"] = Conflict("The network is not there yet.")
    if outcome == "cancelled":
        await room.until(lambda: job.waits)
        room.orders.cancel(job.number)
    room.backend.gate.set()
    result, _note = await room.diary.end_of(job)
    assert result == outcome
    await room.settle()
    assert room.state("alice") is AgentState.RUNNING
    assert room.backend.running["alice"] == (NEW if outcome == "done" else "")
    assert not room.diary.crashes


async def given_up(room: Room) -> None:
    """Let alice crash until systemd gives up."""
    room.backend.set("alice", "activating", result="exit-code")
    room.backend.set("alice", "failed", result="start-limit-hit")
    await room.settle()
    assert room.state("alice") is AgentState.FAILED


async def test_what_was_given_up_is_started_with_it(room: Room) -> None:
    await given_up(room)
    assert await room.diary.end_of(deploy(room)) == DONE
    assert room.state("alice") is AgentState.RUNNING
    assert room.backend.running["alice"] == NEW


async def test_what_was_given_up_and_does_not_start_either_way_is_not_tried_the_old_way(
    room: Room,
) -> None:
    assert await room.diary.end_of(deploy(room, OLD)) == DONE
    await given_up(room)
    room.backend.broken.add(NEW)
    result, note = await room.diary.end_of(deploy(room))
    assert (result, "either" in note) == (JobResult.FAILED, False)
    assert (commit_of(room), room.backend.laid["alice"]) == (OLD, OLD)
    assert room.state("alice") is AgentState.STOPPED


async def test_a_start_builds_what_is_missing(room: Room) -> None:
    assert await room.diary.end_of(deploy(room)) == DONE
    await room.order(JobVerb.STOP, "alice")
    room.backend.built.clear()
    await room.order(JobVerb.START, "alice")
    assert NEW in room.backend.built
    room.backend.built.clear()
    job = room.orders.order(JobVerb.REBUILD, "alice")
    assert await room.diary.end_of(job) == (JobResult.DONE, "configuration rebuilt")


async def test_cancelled_in_a_turn_it_leaves_the_container_alone(room: Room) -> None:
    reported(room, "thinking")
    job = deploy(room)
    await until(room, "build")
    invocation = room.backend.units["alice"].invocation
    room.orders.cancel(job.number)
    result, _note = await room.diary.end_of(job)
    assert result is JobResult.CANCELLED
    assert ("stop_build", "alice") in room.backend.calls
    assert room.backend.units["alice"].invocation == invocation


async def test_a_stopping_service_does_not_wait_for_the_end_of_a_turn(room: Room) -> None:
    reported(room, "thinking")
    deploy(room)
    await until(room, "build")
    await room.settle()
    async with asyncio.timeout(5):
        await room.jobs.drain(3600)
    assert [job.verb for job in room.store.jobs()] == [JobVerb.DEPLOY]


@pytest.mark.parametrize("verb", ["build", "start", "configure"])
async def test_a_host_that_goes_down_is_no_verdict(room: Room, verb: str) -> None:
    assert await room.diary.end_of(deploy(room, OLD)) == DONE
    room.backend.fail[verb] = Conflict("It was canceled.")
    room.backend.stopping = True
    job = deploy(room)
    await room.jobs.released(job.number)
    assert not room.diary.finished[job.number].done()
    await room.reboot()
    again = room.jobs.of("alice")
    assert again
    assert again.number == job.number
    assert await room.diary.end_of(again) == DONE
    assert (commit_of(room), room.backend.running["alice"]) == (NEW, NEW)


async def test_a_spawn_is_not_given_up_with_the_host(tmp_path: Path) -> None:
    room = Room(tmp_path)
    await room.open()
    room.backend.fail["start"] = Conflict("It was canceled.")
    room.backend.stopping = True
    job = room.orders.spawn("bob", SpawnOptions(commit=OLD))
    await room.jobs.released(job.number)
    await room.reboot()
    again = room.jobs.of("bob")
    assert again
    assert await room.diary.end_of(again) == DONE
    assert room.backend.running["bob"] == OLD
    await room.close()


async def test_an_agent_is_spawned_from_what_was_approved(tmp_path: Path) -> None:
    room = Room(tmp_path)
    await room.open()
    job = room.orders.spawn("bob", SpawnOptions(commit=OLD))
    assert await room.diary.end_of(job) == DONE
    assert (room.backend.running["bob"], room.record("bob").deployed) == (OLD, OLD)

    # The spawn fails: the kept data is unchanged.
    await room.diary.end_of(room.orders.destroy("bob", False))
    room.backend.broken.add(NEW)
    result, _note = await room.diary.end_of(room.orders.spawn("bob", SpawnOptions(commit=NEW)))
    assert result is JobResult.FAILED
    assert room.record("bob").deployed == OLD
    assert await room.diary.end_of(room.orders.spawn("bob", SpawnOptions())) == DONE
    assert room.backend.running["bob"] == OLD
    await room.close()


async def test_its_configuration_says_when_it_sleeps(room: Room) -> None:
    room.backend.configurations[NEW] = AgentFile(sleep_after=7)
    assert room.parts.settings.sleeps_after("alice") == 0
    assert await room.diary.end_of(deploy(room)) == DONE
    assert room.parts.settings.sleeps_after("alice") == 7


async def test_what_cannot_be_deployed_is_refused(room: Room) -> None:
    with pytest.raises(NotFound):
        room.orders.deploy("bob", NEW, DeployOptions())
    with pytest.raises(InvalidArgument, match="40"):
        room.orders.deploy("alice", "main", DeployOptions())
    with pytest.raises(InvalidArgument, match="now"):
        deploy(room, later=True)
    with pytest.raises(InvalidArgument, match="valid boolean"):
        deploy(room, now="yes")
    reported(room, "thinking")
    job = deploy(room)
    assert deploy(room) is job
    with pytest.raises(Conflict, match="being deployed"):
        deploy(room, OLD)
    with pytest.raises(Conflict, match="being deployed"):
        room.orders.order(JobVerb.RESTART, "alice")
    reported(room, "idle")
    assert await room.diary.end_of(job) == DONE
