"""The disk space of agents: measured, warned about, and limited."""

import asyncio
import os
from pathlib import Path

import pytest

from services.lifecycle.agents.agent import Spec
from services.lifecycle.files import measure
from services.lifecycle.files.measure import TOO_MUCH, size_below, total_size
from services.lifecycle.tests.room import Room
from services.lifecycle.watch import disk
from services.lifecycle.watch.disk import Level, level_of, pause
from wire.principal import agent
from wire.records.lifecycle import (
    AgentState,
    DeployOptions,
    JobResult,
    JobVerb,
    Report,
    ResourceChanges,
)

GIB = 2**30


def test_levels() -> None:
    assert level_of(79, 100) is Level.ENOUGH
    assert level_of(80, 100) is level_of(99, 100) is Level.LOW
    assert level_of(100, 100) is level_of(TOO_MUCH, 100) is Level.FULL
    assert level_of(TOO_MUCH, None) is Level.ENOUGH


def test_less_room_is_measured_sooner() -> None:
    assert pause(0, 100 * GIB) == disk.LATEST
    assert disk.SOONEST < pause(10 * GIB, 16 * GIB) < disk.LATEST
    assert pause(16 * GIB, 16 * GIB) == disk.SOONEST


def test_a_file_with_two_names_counts_once(tmp_path: Path) -> None:
    folder = tmp_path / "alice"
    folder.mkdir()
    (folder / "a").write_bytes(b"x" * 2**20)
    once = size_below(tmp_path, "alice")
    os.link(folder / "a", folder / "b")
    assert size_below(tmp_path, "alice") == once
    (tmp_path / "far").write_bytes(b"x" * 2**20)
    (folder / "far").symlink_to(tmp_path / "far")
    assert size_below(tmp_path, "alice") == once + measure.SMALLEST


def test_empty_files_count_too(tmp_path: Path) -> None:
    (tmp_path / "alice").mkdir()
    for number in range(10):
        (tmp_path / f"alice/{number}").touch()
    assert size_below(tmp_path, "alice") >= 11 * measure.SMALLEST


def test_measuring_stops_when_it_is_enough(tmp_path: Path) -> None:
    (tmp_path / "alice/deep").mkdir(parents=True)
    (tmp_path / "alice/deep/file").write_bytes(b"x" * 2**20)
    parts = [(tmp_path, "alice"), (tmp_path, "missing"), (tmp_path, "alice")]
    assert total_size(parts, enough=4096) == 4096
    assert total_size(parts) >= 2**21


def test_a_tree_that_cannot_be_measured_is_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "alice/1/2/3").mkdir(parents=True)
    monkeypatch.setattr(measure, "MAX_DEPTH", 3)
    assert size_below(tmp_path, "alice") == TOO_MUCH
    assert total_size([(tmp_path, "alice")]) == TOO_MUCH


async def room_with_alice(folder: Path) -> Room:
    room = Room(folder)
    room.backend.disk_max = GIB
    await room.open()
    await room.spawn("alice")
    return room


async def report(room: Room, turn: str) -> None:
    """Report a turn state as alice's harness does."""
    room.harnesses.report(agent("alice"), "alice", Report(turn_state=turn))


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "SHORTEST", 0.0)


async def test_the_manager_and_the_operator_are_warned_at_80_percent(tmp_path: Path) -> None:
    room = await room_with_alice(tmp_path)
    before = len(room.broker.sent)
    room.backend.disk["alice"] = GIB * 9 // 10
    await report(room, "idle")
    assert (await room.told(before + 2))[before:] == ["disk-space"] * 2
    warned = room.broker.sent[before:]
    assert {notice.recipient for notice in warned} == {"manager", "operator"}
    assert "alice uses 922 MiB of the 1.0 GiB of disk space" in warned[0].body
    assert room.state("alice") is AgentState.RUNNING
    assert (await room.parts.runtime.usage("alice")).disk == GIB * 9 // 10
    await room.close()


async def test_at_the_limit_the_agent_is_stopped_and_does_not_start(tmp_path: Path) -> None:
    room = await room_with_alice(tmp_path)
    before = len(room.broker.sent)
    room.backend.disk["alice"] = 2 * GIB
    await report(room, "idle")
    kinds = await room.told(before + 2)
    assert kinds[before:] == ["disk-space"] * 2
    assert "It is stopped" in room.broker.sent[-1].body
    await room.until(lambda: room.state("alice") is AgentState.STOPPED)
    while job := room.jobs.of("alice"):
        await room.diary.end_of(job)
    result, note = await room.diary.end_of(room.orders.order(JobVerb.START, "alice"))
    assert result is JobResult.FAILED
    assert "alice is not started: alice uses more than twice the 1.0 GiB of disk space" in note
    await room.parts.settings.set_resources("alice", ResourceChanges(disk_max=4 * GIB))
    await room.order(JobVerb.START, "alice")
    assert room.state("alice") is AgentState.RUNNING
    await room.close()


async def test_a_deploy_that_waits_for_an_endless_turn_does_not_lift_the_limit(
    tmp_path: Path,
) -> None:
    room = await room_with_alice(tmp_path)
    await report(room, "thinking")
    job = room.orders.deploy("alice", "a" * 40, DeployOptions())
    await room.settle()
    assert room.jobs.of("alice") is job
    room.backend.disk["alice"] = 2 * GIB
    room.harnesses.report(agent("alice"), "alice", Report(turn_state="compacting"))
    async with asyncio.timeout(5):
        result, note = await room.diary.end_of(job)
    assert result is JobResult.FAILED
    assert "alice is not started: alice uses more than twice the 1.0 GiB of disk space" in note
    assert room.state("alice") is AgentState.STOPPED
    await room.close()


async def test_a_failure_with_one_agent_does_not_lift_the_limits_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = await room_with_alice(tmp_path)
    before = len(room.broker.sent)
    measure_all = room.backend.disk_usage
    failed = asyncio.Event()

    async def fail(spec: Spec, enough: int) -> int:
        if spec.name == "bob":
            failed.set()
            raise RuntimeError("a fault of ours")
        return await measure_all(spec, enough)

    monkeypatch.setattr(room.backend, "disk_usage", fail)
    await room.spawn("bob")
    async with asyncio.timeout(5):
        await failed.wait()
    room.backend.disk["alice"] = GIB * 9 // 10
    await report(room, "idle")
    assert "disk-space" in (await room.told(before + 3))[before:]
    await room.close()


async def test_an_agent_that_reports_nothing_is_measured_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "SOONEST", 0.01)
    monkeypatch.setattr(disk, "LATEST", 0.01)
    room = await room_with_alice(tmp_path)
    before = len(room.broker.sent)
    room.backend.disk["alice"] = GIB
    assert (await room.told(before + 2))[before:] == ["disk-space"] * 2
    await room.close()
