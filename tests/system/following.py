"""The events of an agent, as they happen: `hivectl watch --follow`."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer
from typing import Any

from tests.system.hive import Hive

LIMIT = 120.0
"""Seconds until an event that does not come is given up."""


class Following:
    """The events that come after the beginning."""

    def __init__(self, running: "subprocess.Popen[str]") -> None:
        assert running.stdout
        self._running = running
        self._lines = running.stdout

    def until(self, type: str, words: str = "") -> dict[str, Any]:
        """Wait for the next event of the type with these words in its JSON; return it."""
        timer = Timer(LIMIT, self._running.kill)
        timer.start()
        try:
            for line in self._lines:
                event: dict[str, Any] = json.loads(line)
                if event["type"] == type and words in line:
                    return event
        finally:
            timer.cancel()
        raise AssertionError(f"hivectl ended without {type} {words}")


@contextmanager
def following(hive: Hive, agent: str) -> Iterator[Following]:
    """Follow an agent that has an event at least."""
    running = hive.popen("hivectl", "watch", agent, "-f", "--json", "-n", "1")
    try:
        assert running.stdout
        assert running.stdout.readline()
        yield Following(running)
    finally:
        running.terminate()
        running.communicate(timeout=20)
