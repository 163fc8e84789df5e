"""Lets one step of many fail, or kills the process there."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from wire.errors import HiveError, Unavailable


class Killed(BaseException):
    """What kill -9 is to a test: nothing that is done about errors is done about it."""


class Faults:
    """Counts the steps; the one numbered `fatal` fails.

    Each thing that is done is two steps: it fails before it had its effect, or after it.
    """

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.fatal: int | None = None
        self.fails: Callable[[], BaseException] = Killed
        self.dead = False
        self.slow = False
        self._off = False

    @contextmanager
    def off(self) -> Iterator[None]:
        """As long as the test itself looks."""
        self._off = True
        try:
            yield
        finally:
            self.slow = False
        self._off = False

    @contextmanager
    def here(self, name: str) -> Iterator[None]:
        """A write to our own store, which says truly whether it was done."""
        self._step(f"before {name}")
        yield
        if self.fails is Killed:
            self._step(f"after {name}")

    @asynccontextmanager
    async def at(self, name: str) -> AsyncIterator[None]:
        """A thing that is asked of somebody else; others may go on meanwhile."""
        if self.slow:
            await asyncio.sleep(0)
        self._step(f"before {name}")
        yield
        self._step(f"after {name}")

    @property
    def struck(self) -> bool:
        """Whether the one step has failed."""
        return self.fatal is not None and self.fatal < len(self.steps)

    def _step(self, name: str) -> None:
        if self._off:
            return
        if self.dead:
            raise Killed(name)
        self.steps.append(name)
        if len(self.steps) - 1 == self.fatal:
            error = self.fails()
            self.dead = not isinstance(error, HiveError)
            raise error


def unavailable() -> BaseException:
    return Unavailable("This failed, once.")
