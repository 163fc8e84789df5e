"""The run of the service, with fake containers and a fake broker."""

import asyncio

import pytest

from services import deliverer
from services.lifecycle.agents.record import Phase, Record
from services.lifecycle.tests.room import DONE, Room
from wire.errors import (
    LimitExceeded,
)
from wire.records.lifecycle import AgentState, JobResult, JobVerb, SpawnOptions

BASE = 0x1000_0000


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
    await room.diary.end_of(room.orders.destroy("alice", True))
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


async def test_the_data_of_earlier_versions_is_corrected_on_start(room: Room) -> None:
    assert room.backend.corrected


async def test_a_restart_adopts_what_runs_and_starts_what_should(room: Room) -> None:
    for name in ("alice", "bob", "carol"):
        await room.spawn(name)
    await room.order(JobVerb.STOP, "bob")
    await room.close()
    room.backend.set("carol", "failed", result="exit-code", code=1, status=1)
    room.backend.calls.clear()
    await room.open()
    await room.diary.end_of(room.orders.order(JobVerb.START, "carol"))
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
    await room.diary.end_of(room.orders.order(JobVerb.START, "alice"))
    assert not room.diary.crashes
    assert room.state("alice") is AgentState.RUNNING


@pytest.mark.parametrize("phase", [Phase.CREATING, Phase.DESTROYING, Phase.PURGING])
async def test_what_was_half_done_is_finished_on_start(room: Room, phase: Phase) -> None:
    room.store.save(Record("alice", BASE, phase=phase))
    await room.close()
    await room.open()
    job = room.orders.destroy("alice", phase is Phase.PURGING)
    assert await room.diary.end_of(job) == DONE
    record = room.store.find("alice")
    assert record is None if phase is Phase.PURGING else record and record.phase is Phase.KEPT


async def test_stopping_waits_for_jobs(room: Room) -> None:
    room.backend.gate.clear()
    job = room.orders.spawn("alice", SpawnOptions())
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
    await room.diary.end_of(room.orders.order(JobVerb.START, "alice"))
    assert not room.diary.crashes


async def test_a_container_of_another_version_is_told(room: Room) -> None:
    await room.spawn("alice")
    await room.told(1)
    await room.close()
    room.version = "2"
    await room.open()
    assert (await room.told(2))[1:] == ["needs-update"]
    assert [a.stale for a in room.agents] == [True]
    job = room.orders.order(JobVerb.UPDATE, "alice")
    assert (await room.diary.end_of(job))[0] is JobResult.DONE
    assert [a.stale for a in room.agents] == [False]
    assert (await room.told(3))[2:] == ["rebuilt"]
