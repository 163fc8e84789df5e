"""The rules, without a bus."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from services.approvals import approvals
from services.approvals.approvals import MAX_TEXT, Approvals
from services.approvals.model import TRANSITIONS, Approval, State
from services.approvals.store import Store
from services.approvals.tests.neighbours import FakeBroker, FakeLifecycle
from wire.errors import (
    AlreadyExists,
    Conflict,
    HiveError,
    Internal,
    InvalidArgument,
    LimitExceeded,
    NotFound,
    Unavailable,
)

JOB = "/org/hyperhive/Lifecycle1/job/1"


class Room:
    """Approvals between two fakes; `reopen` is what a crash and a new start do."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lifecycle = FakeLifecycle()
        self.broker = FakeBroker()
        self.changes: list[tuple[int, State]] = []
        self._stores: list[Store] = []
        self.reopen()

    def reopen(self) -> None:
        self.store = Store(self.path)
        self._stores.append(self.store)
        self.approvals = Approvals(
            self.store, self.lifecycle, self.broker, max_pending=3, clock=lambda: 1_700_000_000
        )
        self.approvals.on_change = self._changed

    def close(self) -> None:
        for store in self._stores:
            store.close()

    def _changed(self, approval: Approval) -> None:
        self.changes.append((approval.id, approval.state))

    def state(self, number: int) -> State:
        approval = self.store.get(number)
        assert approval is not None
        return approval.state

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.timeout(5):
            task = asyncio.create_task(self.approvals.run())
            try:
                yield
            finally:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    room = Room(tmp_path / "approvals.sqlite")
    yield room
    room.close()


async def test_a_yes_spawns_and_the_end_of_the_job_resolves(room: Room) -> None:
    number = await room.approvals.request_spawn("manager", "alice", "to write docs")
    assert room.state(number) is State.PENDING
    async with room.running():
        assert await room.approvals.approve(number) == JOB
        assert room.state(number) is State.APPROVED
        room.approvals.job_removed(JOB, "alice", "spawn", "done", "")
        assert room.state(number) is State.SPAWNED
        await room.broker.wait_told(1)
    assert room.lifecycle.spawned == ["alice"]
    assert room.changes == [(1, State.PENDING), (1, State.APPROVED), (1, State.SPAWNED)]
    assert room.broker.told == [
        ("The request 1 to spawn alice was approved, and alice is there now.", "approval-1")
    ]


async def test_a_failed_job_fails_the_request_with_its_reason(room: Room) -> None:
    number = await room.approvals.request_spawn("manager", "alice", "docs")
    job = await room.approvals.approve(number)
    room.approvals.job_removed(job, "alice", "spawn", "failed", "No room on the disk.")
    approval = room.store.get(number)
    assert approval is not None
    assert (approval.state, approval.note) == (State.FAILED, "No room on the disk.")
    async with room.running():
        await room.broker.wait_told(1)
    assert "No room on the disk." in room.broker.told[0][0]


async def test_a_no_is_kept_and_told_with_its_note(room: Room) -> None:
    number = await room.approvals.request_spawn("manager", "alice", "docs")
    await room.approvals.deny(number, "ask bob instead")
    assert room.state(number) is State.DENIED
    async with room.running():
        await room.broker.wait_told(1)
    assert room.broker.told == [
        ("The request 1 to spawn alice was denied: ask bob instead", "approval-1")
    ]
    assert room.lifecycle.spawned == []


@pytest.mark.parametrize(
    "name", ["", "Alice", "../x", "a" * 10, "1a", "-a", "a b", "a\n", "ä", "operator", "system"]
)
async def test_names_that_are_none_are_refused(room: Room, name: str) -> None:
    with pytest.raises(InvalidArgument):
        await room.approvals.request_spawn("manager", name, "docs")
    assert room.store.find() == []


@pytest.mark.parametrize("reason", ["", "  \n", "x" * (MAX_TEXT + 1)])
async def test_reasons_have_bounds(room: Room, reason: str) -> None:
    with pytest.raises(InvalidArgument, match=f"1 to {MAX_TEXT}"):
        await room.approvals.request_spawn("manager", "alice", reason)


async def test_a_note_has_bounds_and_a_bad_one_changes_nothing(room: Room) -> None:
    number = await room.approvals.request_spawn("manager", "alice", "docs")
    with pytest.raises(InvalidArgument):
        await room.approvals.deny(number, "x" * (MAX_TEXT + 1))
    assert room.state(number) is State.PENDING


async def test_a_taken_name_is_refused(room: Room) -> None:
    room.lifecycle.agents = {"alice"}
    with pytest.raises(AlreadyExists):
        await room.approvals.request_spawn("manager", "alice", "docs")


async def test_one_open_request_holds_a_name(room: Room) -> None:
    first = await room.approvals.request_spawn("manager", "alice", "docs")
    with pytest.raises(Conflict, match="Request 1 for alice is pending"):
        await room.approvals.request_spawn("operator", "alice", "docs")
    await room.approvals.deny(first, "")
    assert await room.approvals.request_spawn("manager", "alice", "docs") == 2


async def test_two_requests_at_once_do_not_both_get_the_name(room: Room) -> None:
    answers = await asyncio.gather(
        *(room.approvals.request_spawn("manager", "alice", "docs") for _ in range(5)),
        return_exceptions=True,
    )
    assert [a for a in answers if isinstance(a, int)] == [1]
    assert all(isinstance(a, int | Conflict) for a in answers)


async def test_the_queue_is_bounded(room: Room) -> None:
    for name in "abc":
        await room.approvals.request_spawn("manager", name, "docs")
    with pytest.raises(LimitExceeded):
        await room.approvals.request_spawn("manager", "d", "docs")
    await room.approvals.deny(1, "")
    await room.approvals.request_spawn("manager", "d", "docs")


async def test_what_is_resolved_stays_so(room: Room) -> None:
    number = await room.approvals.request_spawn("manager", "alice", "docs")
    await room.approvals.approve(number)
    for again in (room.approvals.approve(number), room.approvals.deny(number, "")):
        with pytest.raises(Conflict, match="approved already"):
            await again
    assert room.lifecycle.spawned == ["alice"]


async def test_two_yeses_at_once_spawn_once(room: Room) -> None:
    number = await room.approvals.request_spawn("manager", "alice", "docs")
    answers = await asyncio.gather(
        room.approvals.approve(number), room.approvals.approve(number), return_exceptions=True
    )
    assert [type(a) for a in answers] == [str, Conflict]
    assert room.lifecycle.spawned == ["alice"]


@pytest.mark.parametrize("number", [0, 7, 2**63 - 1])
async def test_an_unknown_id_is_not_found(room: Room, number: int) -> None:
    with pytest.raises(NotFound):
        await room.approvals.approve(number)
    with pytest.raises(NotFound):
        await room.approvals.deny(number, "")


async def test_an_order_that_lifecycle_refuses_fails_the_request(room: Room) -> None:
    number = await room.approvals.request_spawn("manager", "alice", "docs")
    room.lifecycle.error = AlreadyExists("alice is there already.")
    with pytest.raises(AlreadyExists):
        await room.approvals.approve(number)
    assert room.state(number) is State.FAILED


async def test_a_yes_outlives_a_lifecycle_that_is_away(room: Room) -> None:
    number = await room.approvals.request_spawn("manager", "alice", "docs")
    room.lifecycle.error = Unavailable("Nobody owns the name.")
    with pytest.raises(Unavailable, match="as soon as lifecycle is back"):
        await room.approvals.approve(number)
    assert room.state(number) is State.APPROVED
    room.lifecycle.error = None
    room.lifecycle.asked.clear()
    async with room.running():
        room.approvals.neighbour_changed()
        await room.lifecycle.asked.wait()
    assert room.lifecycle.spawned == ["alice", "alice"]


@pytest.mark.parametrize("how", ["cancelled", "lost"])
async def test_a_job_that_lifecycle_took_with_it_is_ordered_anew(room: Room, how: str) -> None:
    number = await room.approvals.request_spawn("manager", "alice", "docs")
    job = await room.approvals.approve(number)
    if how == "cancelled":
        room.approvals.job_removed(job, "alice", "spawn", "cancelled", "Lifecycle is stopping.")
    assert room.state(number) is State.APPROVED
    room.lifecycle.asked.clear()
    room.approvals.neighbour_changed(lifecycle_lost=True)
    async with room.running():
        await room.lifecycle.asked.wait()
        room.approvals.job_removed(job, "alice", "spawn", "done", "")
        await room.broker.wait_told(1)
    assert room.state(number) is State.SPAWNED


async def test_a_job_that_ends_before_its_order_is_answered_counts(room: Room) -> None:
    number = await room.approvals.request_spawn("manager", "alice", "docs")
    order = asyncio.create_task(room.approvals.approve(number))
    await room.lifecycle.asked.wait()
    room.approvals.job_removed(JOB, "alice", "spawn", "done", "")
    assert await order == JOB
    assert room.state(number) is State.SPAWNED


async def test_jobs_of_others_change_nothing(room: Room) -> None:
    number = await room.approvals.request_spawn("manager", "alice", "docs")
    room.approvals.job_removed(JOB, "alice", "spawn", "done", "")
    assert room.state(number) is State.PENDING
    job = await room.approvals.approve(number)
    room.approvals.job_removed(job, "bob", "spawn", "failed", "x")
    room.approvals.job_removed(job, "alice", "start", "failed", "x")
    room.approvals.job_removed(job + "0", "alice", "spawn", "failed", "x")
    assert room.state(number) is State.APPROVED


async def _crash_after_yes(room: Room) -> int:
    number = await room.approvals.request_spawn("manager", "alice", "docs")
    await room.approvals.approve(number)
    room.store.close()
    room.lifecycle.asked.clear()
    room.reopen()
    return number


async def test_after_a_crash_an_agent_that_is_there_counts_as_spawned(room: Room) -> None:
    number = await _crash_after_yes(room)
    room.lifecycle.agents = {"alice"}
    async with room.running():
        await room.broker.wait_told(1)
    assert room.state(number) is State.SPAWNED
    assert room.lifecycle.spawned == ["alice"]


async def test_after_a_crash_an_agent_that_is_missing_is_spawned_again(room: Room) -> None:
    number = await _crash_after_yes(room)
    async with room.running():
        await room.lifecycle.asked.wait()
        room.approvals.job_removed("/any", "alice", "spawn", "done", "")
        await room.broker.wait_told(1)
    assert room.state(number) is State.SPAWNED
    assert room.lifecycle.spawned == ["alice", "alice"]


async def test_after_a_crash_a_job_that_still_runs_is_awaited(room: Room) -> None:
    number = await _crash_after_yes(room)
    room.lifecycle.agents = room.lifecycle.spawning = {"alice"}
    async with room.running():
        for _ in range(10):
            await asyncio.sleep(0)  # let `run` do all that it would do
        assert room.state(number) is State.APPROVED
        room.approvals.job_removed(JOB, "alice", "spawn", "failed", "No.")
        await room.broker.wait_told(1)
    assert room.state(number) is State.FAILED
    assert room.lifecycle.spawned == ["alice"]


async def test_what_the_broker_did_not_take_is_owed_over_a_restart(room: Room) -> None:
    number = await room.approvals.request_spawn("manager", "alice", "docs")
    await room.approvals.deny(number, "no")
    room.broker.error = Unavailable("Nobody owns the name.")
    async with room.running(), room.broker.news:
        await room.broker.news.wait()
    room.broker.error = None
    room.reopen()
    async with room.running():
        await room.broker.wait_told(1)
    assert room.store.untold() == []


@pytest.mark.parametrize("error", [Unavailable("away"), Internal("a bug")])
async def test_a_broker_that_comes_back_hears_what_it_missed(room: Room, error: HiveError) -> None:
    number = await room.approvals.request_spawn("manager", "alice", "docs")
    await room.approvals.deny(number, "no")
    room.broker.error = error
    async with room.running():
        async with room.broker.news:
            await room.broker.news.wait()
        room.broker.error = None
        room.approvals.neighbour_changed()
        await room.broker.wait_told(1)


async def test_without_a_manager_nobody_is_owed_anything(room: Room) -> None:
    number = await room.approvals.request_spawn("operator", "manager", "the first agent")
    await room.approvals.deny(number, "")
    room.broker.error = NotFound("There is no agent manager.")
    async with room.running(), room.broker.news:
        await room.broker.news.wait()
    assert room.store.untold() == []


def test_every_state_has_its_row_and_is_reached() -> None:
    assert set(TRANSITIONS) == set(State)
    reached = {state for targets in TRANSITIONS.values() for state in targets}
    assert reached | {State.PENDING} == set(State)


async def test_what_was_too_much_for_the_broker_is_told_later(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(approvals, "TOO_MUCH", 0.01)
    number = await room.approvals.request_spawn("manager", "alice", "docs")
    await room.approvals.deny(number, "no")
    room.broker.error = LimitExceeded("Try again in 1 s.")
    async with room.running():
        async with room.broker.news:
            await room.broker.news.wait()
        room.broker.error = None
        await room.broker.wait_told(1)
    assert len(room.broker.told) == 1
