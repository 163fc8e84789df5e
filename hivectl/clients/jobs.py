"""The ends of lifecycle's jobs."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from wire.errors import Timeout, Unavailable
from wire.signals import Signal


class Job(NamedTuple):
    """A job that has ended.

    `result` is done, failed or cancelled. `note` says why the job failed, or what it changed.
    """

    number: int
    agent: str
    verb: str
    result: str
    note: str


class Jobs:
    """The ends of lifecycle's jobs since the watch began.

    A job outlives lifecycle: when lifecycle is killed, the next one continues the job.
    """

    def __init__(self, objects: Callable[[], Awaitable[Mapping[str, Any]]]) -> None:
        """`objects`: returns the objects that lifecycle exports now, by path."""
        self._objects = objects
        self._ended: dict[str, Job] = {}
        self._restarted = False
        self._changed = asyncio.Event()

    def on_removed(self, signal: Signal) -> None:
        """Keep how a job ended: the reply that names the job may still be on its way."""
        number, path, agent, verb, result, note = signal.args
        self._ended[path] = Job(number, agent, verb, result, note)
        self._changed.set()

    def on_owner_changed(self, signal: Signal) -> None:
        """Note that lifecycle started again."""
        _name, _old, new = signal.args
        if new:
            self._restarted = True
            self._changed.set()

    async def end_of(self, path: str, slow: Callable[[], None], seconds: float) -> Job:
        """Wait for the end of the job at `path`, and call `slow` if it takes more than a second.

        Raises:
            Timeout: the job has not ended after `seconds`.
            Unavailable: the job ended while lifecycle was not running.
        """
        ending = asyncio.ensure_future(self._wait(path))
        try:
            async with asyncio.timeout(seconds):
                done, _ = await asyncio.wait({ending}, timeout=1.0)
                if not done:
                    slow()
                return await ending
        except TimeoutError:
            number = path.rpartition("/")[2]
            raise Timeout(
                f"Job {number} still runs after {seconds:g} s, and continues. `hivectl logs NAME "
                f"--unit jobs` shows its progress; `hivectl cancel-job {number}` cancels it."
            ) from None
        finally:
            ending.cancel()

    async def _wait(self, path: str) -> Job:
        while path not in self._ended:
            await self._changed.wait()
            self._changed.clear()
            if self._restarted:
                self._restarted = False
                await self._check(path)
        return self._ended[path]

    async def _check(self, path: str) -> None:
        """Raise Unavailable if the lifecycle that started again does not continue the job."""
        if path not in await self._objects() and path not in self._ended:
            raise Unavailable(
                "hive-lifecycle was killed when the job ended, and the result is unknown. `hivectl "
                "list` shows the state of the agent."
            )
