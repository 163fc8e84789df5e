"""A task has an owner, and its failure is seen by somebody."""

import asyncio
import logging
import threading

import pytest

from services.tasks import Tasks, run_in_thread
from wire.errors import NotFound


async def never() -> None:
    await asyncio.get_running_loop().create_future()


async def fail(error: Exception) -> None:
    await asyncio.sleep(0)
    raise error


async def test_a_task_is_kept_until_it_is_done() -> None:
    tasks, gate = Tasks(), asyncio.Event()
    task = tasks.start(gate.wait(), "gate")
    assert len(tasks) == 1
    gate.set()
    assert await task
    await asyncio.sleep(0)
    assert (len(tasks), task.get_name()) == (0, "gate")


async def test_a_failure_is_raised_where_the_task_is_awaited(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tasks = Tasks()
    with pytest.raises(ValueError, match="wrong"):
        await tasks.start(fail(ValueError("wrong")))
    with pytest.raises(ValueError, match="wrong"):
        await tasks.finish(fail(ValueError("wrong")))
    await tasks.wait()
    assert caplog.records == []


async def test_a_failure_that_nobody_awaits_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    tasks = Tasks()
    tasks.start_detached(fail(ValueError("wrong")), "look-alice")
    await tasks.wait()
    await asyncio.sleep(0)
    [record] = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.ERROR, "The task look-alice failed.")
    assert record.exc_info is not None


async def test_done_is_called_even_for_a_task_that_never_began() -> None:
    tasks, ended = Tasks(), []
    tasks.start_detached(never(), done=lambda: ended.append(1))
    await tasks.cancel()
    await asyncio.sleep(0)
    assert ended == [1]


async def test_work_is_finished_after_its_caller_was_cancelled() -> None:
    tasks, gate, written = Tasks(), asyncio.Event(), []

    async def write() -> None:
        await gate.wait()
        written.append(1)

    caller = asyncio.create_task(tasks.finish(write()))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    gate.set()
    await tasks.wait()
    assert written == [1]


@pytest.mark.parametrize(("error", "logged"), [(NotFound("no bob"), 0), (ValueError("bug"), 1)])
async def test_only_a_bug_is_logged_once_the_caller_has_left(
    caplog: pytest.LogCaptureFixture, error: Exception, logged: int
) -> None:
    tasks = Tasks()
    caller = asyncio.create_task(tasks.finish(fail(error)))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await tasks.wait()
    await asyncio.sleep(0)
    assert len(caplog.records) == logged


async def test_finish_is_cancelled_when_the_tasks_are() -> None:
    tasks = Tasks()
    caller = asyncio.create_task(tasks.finish(never()))
    await asyncio.sleep(0)
    await tasks.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller


async def test_the_end_waits_for_clean_up_and_for_what_that_starts() -> None:
    tasks, order = Tasks(), []

    async def release() -> None:
        try:
            await never()
        finally:
            order.append("released")

    async def hold() -> None:
        try:
            await never()
        finally:
            await asyncio.sleep(0)
            order.append("cleaned up")
            tasks.start(release())
            await asyncio.sleep(0)

    tasks.start(hold())
    await asyncio.sleep(0)
    await tasks.cancel()
    assert (order, len(tasks)) == (["cleaned up", "released"], 0)
    await tasks.cancel()
    await tasks.wait()


async def test_a_lock_is_held_until_the_thread_has_ended() -> None:
    begun, ends, lock = threading.Event(), threading.Event(), asyncio.Lock()

    def work() -> None:
        begun.set()
        ends.wait()

    async def hold() -> None:
        async with lock:
            await run_in_thread(work)

    holding = asyncio.ensure_future(hold())
    await asyncio.to_thread(begun.wait)
    holding.cancel()
    await asyncio.sleep(0)
    assert lock.locked()
    ends.set()
    with pytest.raises(asyncio.CancelledError):
        await holding
    assert not lock.locked()
    assert await run_in_thread(max, 1, 2) == 2
