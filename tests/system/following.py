"""The events of an agent, as they happen: `hivectl watch --follow`."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer
from typing import Any

from tests.system.hive import Hive
from tests.system.inside import last_event

LIMIT = 120.0
"""Seconds until an event that does not come is given up."""


class Following:
    """The events that come after the event `after`."""

    def __init__(self, running: "subprocess.Popen[str]", after: int) -> None:
        assert running.stdout
        self._after = after
        self._running = running
        self._lines = running.stdout

    def until(self, type: str, words: str = "") -> dict[str, Any]:
        """Wait for the next event of the type with these words in its JSON; return it."""
        timer = Timer(LIMIT, self._running.kill)
        timer.start()
        try:
            for line in self._lines:
                event: dict[str, Any] = json.loads(line)
                if event["seq"] > self._after and event["type"] == type and words in line:
                    return event
        finally:
            timer.cancel()
        raise AssertionError(f"hivectl ended without {type} {words}")


@contextmanager
def following(hive: Hive, agent: str) -> Iterator[Following]:
    """Follow an agent from now on."""
    after = last_event(hive, agent)
    # The newest events and those that come: between them is no gap.
    running = hive.popen("hivectl", "watch", agent, "-f", "--json", "-n", "500")
    try:
        yield Following(running, after)
    finally:
        running.terminate()
        running.communicate(timeout=20)
