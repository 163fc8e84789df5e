"""The state machine of one deploy, event by event."""

import asyncio
from collections.abc import Callable

import pytest

from services.approvals.deploys.deployment import TRANSITIONS, Deployment, Stage
from services.approvals.model import Approval
from services.approvals.tests.fake_services import removed
from wire.errors import Conflict, HiveError, Unavailable
from wire.records.approvals import ApprovalKind, ApprovalState
from wire.records.lifecycle import JobRemoved

JOB = "/job/1"


def deployment(stage: Stage = Stage.QUEUED) -> Deployment:
    """A deploy to alice that has come to `stage`."""
    state = ApprovalState.BUILDING
    made = Deployment(
        Approval(3, ApprovalKind.APPLY, "alice", "c" * 40, "x", "manager", 1, state, "", 2)
    )
    ways: dict[Stage, list[Callable[[], object]]] = {
        Stage.QUEUED: [],
        Stage.ORDERING: [made.order],
        Stage.RUNNING: [made.order, lambda: made.accept(JOB)],
        Stage.ENDED: [made.end],
    }
    for event in ways[stage]:
        event()
    assert made.stage is stage
    return made


def end(job: str = JOB, verb: str = "deploy") -> JobRemoved:
    return removed(job, "alice", verb)


EVENTS: dict[Stage, Callable[[Deployment], object]] = {
    Stage.QUEUED: lambda made: made.requeue(),
    Stage.ORDERING: lambda made: made.order(),
    Stage.RUNNING: lambda made: made.resume(JOB),
    Stage.ENDED: lambda made: made.end(),
}


@pytest.mark.parametrize("old", Stage)
@pytest.mark.parametrize("new", Stage)
def test_a_stage_follows_only_as_the_table_says(old: Stage, new: Stage) -> None:
    made = deployment(old)
    if new in TRANSITIONS[old] or old is new is Stage.QUEUED:
        EVENTS[new](made)
        assert made.stage is new
        assert (made.job is not None) == (new is Stage.RUNNING)
    else:
        with pytest.raises(AssertionError, match=f"is {old}; it cannot be {new}"):
            EVENTS[new](made)


async def test_a_known_job_is_returned_at_once() -> None:
    assert await deployment(Stage.RUNNING).wait_for_job(0) == JOB


async def _waiting(made: Deployment, callers: int = 2) -> list[asyncio.Task[str]]:
    tasks = [asyncio.create_task(made.wait_for_job(5)) for _ in range(callers)]
    await asyncio.sleep(0)
    assert made.awaited
    return tasks


async def test_every_caller_gets_the_job() -> None:
    made = deployment()
    tasks = await _waiting(made)
    made.order()
    made.accept(JOB)
    assert await asyncio.gather(*tasks) == [JOB, JOB]
    assert not made.awaited


@pytest.mark.parametrize("error", [Unavailable("later"), None])
async def test_a_requeue_answers_the_callers_only_with_an_error(error: HiveError | None) -> None:
    made = deployment(Stage.ORDERING)
    [task] = await _waiting(made, 1)
    made.requeue(error)
    if error:
        with pytest.raises(Unavailable, match="later"):
            await task
    else:
        made.resume(JOB)
        assert await task == JOB


@pytest.mark.parametrize("error", [Unavailable("refused"), None])
async def test_the_end_answers_callers_that_still_wait(error: HiveError | None) -> None:
    made = deployment(Stage.ORDERING)
    [task] = await _waiting(made, 1)
    made.end(error)
    with pytest.raises(Unavailable if error else Conflict, match="refused" if error else "ended"):
        await task


async def test_a_caller_that_left_is_not_answered() -> None:
    made = deployment()
    gone, waits = await _waiting(made)
    gone.cancel()
    made.resume(JOB)
    await asyncio.wait((gone, waits))
    assert gone.cancelled()
    assert waits.result() == JOB


async def test_a_caller_waits_only_so_long() -> None:
    made = deployment()
    with pytest.raises(Unavailable, match="Request 3 is approved, and will be carried out when"):
        await made.wait_for_job(0.01)
    assert not made.awaited


def test_only_the_end_of_its_own_job_is_its_end() -> None:
    made = deployment(Stage.RUNNING)
    assert not made.is_end(end("/job/2"))
    assert not made.is_end(end(verb="restart"))
    assert made.is_end(end())
    assert not deployment().is_end(end())


@pytest.mark.parametrize("job", [JOB, "/job/2"])
def test_an_end_before_the_answer_to_the_order_is_remembered(job: str) -> None:
    made = deployment(Stage.ORDERING)
    assert not made.is_end(end(job))
    assert made.accept(JOB) == (end() if job == JOB else None)


def test_a_new_order_forgets_the_ends_before_it() -> None:
    made = deployment(Stage.ORDERING)
    made.is_end(end())
    made.requeue()
    made.order()
    assert made.accept(JOB) is None


async def test_a_job_of_a_lost_lifecycle_is_looked_for_again() -> None:
    made = deployment(Stage.ORDERING)
    [task] = await _waiting(made, 1)
    made.requeue()  # lifecycle was lost
    assert made.accept(JOB) is None
    assert await task == JOB
    assert made.stage is Stage.QUEUED
