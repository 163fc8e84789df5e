"""How jobs of lifecycle end."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from wire.errors import Timeout, Unavailable
from wire.signals import Signal


class Job(NamedTuple):
    """A job that has ended.

    `result` is done, failed or cancelled; `note` says why it is not done, or what it changed.
    """

    number: int
    agent: str
    verb: str
    result: str
    note: str


class Jobs:
    """The ends of lifecycle's jobs since the watch began.

    A job outlives lifecycle: when that is killed, the next one goes on with it.
    """

    def __init__(self, objects: Callable[[], Awaitable[Mapping[str, Any]]]) -> None:
        """`objects`: what lifecycle shows now, by path."""
        self._objects = objects
        self._ended: dict[str, Job] = {}
        self._back = False
        self._news = asyncio.Event()

    def on_removed(self, signal: Signal) -> None:
        """Keep how a job ended: its order's reply may still be on the way."""
        number, path, agent, verb, result, note = signal.args
        self._ended[path] = Job(number, agent, verb, result, note)
        self._news.set()

    def on_owner_changed(self, signal: Signal) -> None:
        """Lifecycle came or went."""
        _name, _old, new = signal.args
        if new:
            self._back = True
            self._news.set()

    async def end_of(self, path: str, slow: Callable[[], None], seconds: float) -> Job:
        """How the job at `path` ended; calls `slow` once when that takes longer than a second.

        Raises Timeout after `seconds`, Unavailable when its end went untold.
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
                f"Job {number} still runs after {seconds:g} s, and goes on; `hivectl logs NAME "
                f"--unit jobs` shows how far it is, `hivectl cancel-job {number}` undoes it."
            ) from None
        finally:
            ending.cancel()

    async def _wait(self, path: str) -> Job:
        while path not in self._ended:
            await self._news.wait()
            self._news.clear()
            if self._back:
                self._back = False
                await self._check(path)
        return self._ended[path]

    async def _check(self, path: str) -> None:
        """Lifecycle is there again: either it goes on with the job, or its end was not told."""
        if path not in await self._objects() and path not in self._ended:
            raise Unavailable(
                "hive-lifecycle was killed as the job ended; `hivectl list` shows what it became."
            )
