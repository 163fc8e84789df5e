"""Signals about things that change often: at most one in a while for each thing."""

import asyncio
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)

WINDOW: Final = 0.5
"""Seconds in which the changes of a thing become one signal."""


class Pace(Generic[K]):
    """Emits changes at the end of a window, so that no caller waits for a signal.

    What is emitted is the state at that time, so the last signal tells how things are.
    """

    def __init__(self, emit: Callable[[K], None], window: float = WINDOW) -> None:
        """Call `emit` for each thing that has changed, at most once in `window` seconds."""
        self._emit = emit
        self._window = window
        self._timers: dict[K, asyncio.TimerHandle] = {}

    def changed(self, key: K, *, urgent: bool = False) -> None:
        """Emit a change soon; `urgent`: now."""
        if urgent:
            self._stop(key)
            self._emit(key)
        elif key not in self._timers:
            loop = asyncio.get_running_loop()
            self._timers[key] = loop.call_later(self._window, self._end, key)

    def close(self) -> None:
        """Emit the changes that wait."""
        for key in list(self._timers):
            self._stop(key)
            self._emit(key)

    def _stop(self, key: K) -> None:
        if timer := self._timers.pop(key, None):
            timer.cancel()

    def _end(self, key: K) -> None:
        del self._timers[key]
        self._emit(key)
