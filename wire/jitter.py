"""Random delays for tests, which reveal tests that do not wait for the other side.

    HIVE_TEST_JITTER=50 .venv/bin/pytest wire

pauses the bus daemons of the tests for 0 to 50 ms again and again, so that answers and signals come
late, and delays one of ten file operations of the tests' process.
"""

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

LIMIT: Final = float(os.environ.get("HIVE_TEST_JITTER", "0")) / 1000
"""The longest delay in seconds; 0 for none."""

_FILE_EVENTS: Final = frozenset(
    ("open", "os.chmod", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.scandir")
)
_ONE_OF: Final = 10
_MOST: Final = 200
"""The most delays in a test, because some tests make thousands of files."""

_chance = random.Random()  # noqa: S311 - and not the module's own, which pytest-randomly seeds


class _Files:
    """The hook that delays file operations; an audit hook stays as long as the process."""

    def __init__(self) -> None:
        self.left = 0
        sys.addaudithook(self._delay)

    def _delay(self, event: str, _: tuple[object, ...]) -> None:
        if self.left and event in _FILE_EVENTS and _chance.randrange(_ONE_OF) == 0:
            self.left -= 1
            # The delay is the purpose.
            time.sleep(_chance.uniform(0, LIMIT))


_files = _Files() if LIMIT else None


@contextmanager
def slow_process(pid: int) -> Iterator[None]:
    """Pause a process again and again while the block runs, as a busy machine does."""
    if not LIMIT:
        yield
        return
    ended = threading.Event()

    def pause() -> None:
        while not ended.wait(_chance.uniform(0, LIMIT)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                ended.wait(_chance.uniform(0, LIMIT))
                os.kill(pid, signal.SIGCONT)

    pausing = threading.Thread(target=pause, name="jitter")
    pausing.start()
    try:
        yield
    finally:
        ended.set()
        pausing.join()


@contextmanager
def slow_files() -> Iterator[None]:
    """Delay file operations of this process while the block runs."""
    if _files is None:
        yield
        return
    _files.left = _MOST
    try:
        yield
    finally:
        _files.left = 0
