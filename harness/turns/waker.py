"""Waiting for the next thing to do."""

import asyncio
import time


class Waker:
    """An event with which commands end the wait of the loop."""

    def __init__(self) -> None:
        self._woken = asyncio.Event()

    @property
    def is_set(self) -> bool:
        """Whether a command has come since `clear`."""
        return self._woken.is_set()

    def wake(self) -> None:
        """End the wait."""
        self._woken.set()

    def clear(self) -> None:
        """Have the next wait last until `wake` is called again."""
        self._woken.clear()

    async def wait(self, *tasks: "asyncio.Task[object]", until: float | None = None) -> None:
        """Wait for one of `tasks`, for a command, or for a time in seconds since 1970."""
        woken = asyncio.create_task(self._woken.wait(), name="woken")
        timeout = None if until is None else max(0.0, until - time.time())
        try:
            await asyncio.wait({*tasks, woken}, timeout=timeout, return_when="FIRST_COMPLETED")
        finally:
            woken.cancel()
            await asyncio.wait({woken})
