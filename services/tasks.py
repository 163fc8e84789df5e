"""The asyncio tasks of one owner: kept until they are done, ended together.

    tasks = Tasks()
    task = tasks.start(work())              # somebody awaits it, and sees its failure
    tasks.start_detached(work(), "look-a")  # nobody awaits it: its failure is logged
    result = await tasks.finish(work())     # runs to its end even if the caller is cancelled
    await tasks.cancel()                    # or: await tasks.wait()
    result = await run_in_thread(work)      # when cancelled, it first waits for the thread

The event loop itself keeps only weak references: a task without an owner may vanish while it runs.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import ParamSpec, TypeVar

from wire.errors import HiveError

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


class Tasks:
    """A set of running tasks. `len` is how many run now."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[object]] = set()

    def __len__(self) -> int:
        return len(self._running)

    def start(self, work: Coroutine[object, None, T], name: str | None = None) -> "asyncio.Task[T]":
        """Start `work` and return its task, which the caller awaits.

        A failure is raised where the task is awaited.
        """
        task = asyncio.create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    def start_detached(
        self,
        work: Coroutine[object, None, None],
        name: str | None = None,
        *,
        done: Callable[[], object] | None = None,
    ) -> None:
        """Start `work` that nobody awaits. A failure is logged with its traceback.

        Args:
            done: called when the task ends, also when it is cancelled before its first step, in
                which case no `finally` of `work` runs.
        """
        task = self.start(work, name)
        task.add_done_callback(_log_failure)
        if done is not None:
            task.add_done_callback(lambda _: done())

    async def finish(self, work: Coroutine[object, None, T]) -> T:
        """Run `work` to its end, also when the caller is cancelled; return its result.

        Raises:
            Exception: `work` failed. When the caller has been cancelled, nobody is left to tell: an
                error that is an answer (HiveError) is dropped then, any other one is logged.
        """
        task = self.start(work)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_log_bug)
            raise

    async def wait(self) -> None:
        """Wait until all have ended, including those that are started meanwhile. Never fails."""
        while self._running:
            await asyncio.wait(self._running)

    async def cancel(self) -> None:
        """Cancel all and wait for their ends, including those that are started meanwhile.

        Each is cancelled once, so that it may await its own clean-up. Must not be called by one of
        the tasks.
        """
        while self._running:
            for task in self._running:
                if not task.cancelling():
                    task.cancel()
            await asyncio.wait(self._running)


async def run_in_thread(work: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    """Run `work` in a thread and return its result; when cancelled, first wait for its end.

    So a lock that the caller holds is held until the thread has ended.
    """
    task = asyncio.create_task(asyncio.to_thread(work, *arguments, **options))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait((task,))
        raise


def _log_failure(task: "asyncio.Task[object]") -> None:
    if not task.cancelled() and (error := task.exception()):
        log.error("The task %s failed.", task.get_name(), exc_info=error)


def _log_bug(task: "asyncio.Task[object]") -> None:
    if not task.cancelled() and not isinstance(task.exception(), HiveError):
        _log_failure(task)
