"""The last samples of what each agent has used, for the charts in its row."""

from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from services.dashboard.state.tables import Row
from wire.records.lifecycle import Usage

MAX_SAMPLES: Final = 24


class Sample(NamedTuple):
    """One sample: the load since the one before, and the memory of its moment."""

    at: int
    """In microseconds since 1970."""
    load: int
    """Percent of one processor."""
    memory: int | None
    """Bytes; None if the host does not count them."""


class History:
    """The last MAX_SAMPLES samples of each agent, as far apart as the events that caused them."""

    def __init__(self, now_us: Callable[[], int]) -> None:
        self._now_us = now_us
        self._samples: dict[str, deque[Sample]] = {}
        self._last: dict[str, tuple[int, int]] = {}
        """The time and the processor time of the last sample of each agent."""

    def add(self, name: str, usage: Usage) -> None:
        """Add what an agent uses now. The load of its first sample is not known: it counts as 0."""
        now, cpu = self._now_us(), usage.cpu or 0
        then, before = self._last.get(name, (now, cpu))
        self._last[name] = (now, cpu)
        # A container that was started again begins at 0.
        load = round(100 * (cpu - before) / (now - then)) if cpu >= before and now > then else 0
        samples = self._samples.setdefault(name, deque(maxlen=MAX_SAMPLES))
        samples.append(Sample(now, load, usage.memory))

    def drop(self, name: str) -> None:
        """Forget the samples of an agent."""
        self._samples.pop(name, None)
        self._last.pop(name, None)

    def row(self, name: str) -> Row:
        """Return the row of an agent, oldest sample first."""
        samples = self._samples[name]
        return {
            "at": samples[-1].at,
            "since": samples[-2].at if len(samples) > 1 else 0,
            "load": [sample.load for sample in samples],
            "memory": [sample.memory for sample in samples if sample.memory is not None],
        }
