"""Fault injection: one step of many fails, or the process is killed there."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from wire.errors import HiveError, Unavailable


class Killed(BaseException):
    """A kill -9: no handler of errors catches it."""


class Faults:
    """A counter of steps, of which the one numbered `fatal` fails.

    Each action has two steps: one before its effect, and one after it.
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
        """Inject no faults while the test itself looks."""
        self._off = True
        try:
            yield
        finally:
            self.slow = False
        self._off = False

    @contextmanager
    def here(self, name: str) -> Iterator[None]:
        """Wrap a write to the store, which fails only before its effect, or with the process."""
        self._step(f"before {name}")
        yield
        if self.fails is Killed:
            self._step(f"after {name}")

    @asynccontextmanager
    async def at(self, name: str) -> AsyncIterator[None]:
        """Wrap a call of another service; other tasks may run meanwhile."""
        if self.slow:
            await asyncio.sleep(0)
        self._step(f"before {name}")
        yield
        self._step(f"after {name}")

    @property
    def struck(self) -> bool:
        """Whether the fatal step was reached."""
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
