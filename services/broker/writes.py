"""Writes that are carried through, and large ones of a sender one at a time."""

import asyncio
from collections import defaultdict
from collections.abc import Coroutine
from typing import Final, TypeVar

from services.tasks import Tasks

T = TypeVar("T")

LARGE: Final = 64 * 1024
"""Characters from which on a text waits for earlier large ones of its sender. Each word of a text
goes into the search index, and every other writer waits for that."""


class Writes:
    """Owns the tasks that write to the store and announce the changes."""

    def __init__(self) -> None:
        self._tasks = Tasks()
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def start(self, work: Coroutine[object, None, T]) -> "asyncio.Task[T]":
        """Start `work` as a task that `wait` waits for."""
        return self._tasks.start(work)

    async def carry_out(self, work: Coroutine[object, None, T]) -> T:
        """Do `work` to its end, even if the caller is cancelled (it left the bus) meanwhile.

        A change that is on disk must be announced, or a waiting Receive would miss it.
        """
        return await self._tasks.finish(work)

    async def carry_out_in_turn(
        self, sender: str, size: int, work: Coroutine[object, None, T]
    ) -> T:
        """As `carry_out`; if `work` is large, after earlier large work of `sender`.

        Small work waits for large work that is on its way, too, so that it does not overtake it.

        Args:
            sender: the name that messages of the caller carry.
            size: the characters of the text that `work` writes.
            work: writes to the store.
        """
        return await self.carry_out(self._in_turn(sender, size, work))

    async def wait(self) -> None:
        """Wait until no work is running."""
        await self._tasks.wait()

    async def _in_turn(self, sender: str, size: int, work: Coroutine[object, None, T]) -> T:
        turn = self._turns[sender]
        if size < LARGE and not turn.locked():
            return await work
        async with turn:
            return await work
