"""The broker of the chaos, as hive-broker.service: `python -m bench.chaos.broker [FAULT]`.

It announces each change of a message in a signal of its own, so that the signals are complete
evidence. The real broker sends the changes of 50 ms together, with only the latest of each message.
"""

import runpy
import sys
from collections.abc import Callable, Iterable

from bench.chaos.sabotage import break_broker
from services.broker.messages import changes
from wire.records.broker import MessageChange


class EachChange:
    """Stands in for ChangeSignal: sends each change at once, alone."""

    def __init__(self, emit: Callable[[list[MessageChange]], None]) -> None:
        self._emit = emit

    def add(self, rows: Iterable[MessageChange]) -> None:
        """Send the changes."""
        for change in rows:
            self._emit([change])

    def close(self) -> None:
        """Do nothing: no change waits."""


def main(fault: str) -> None:
    """Run as the broker, with a fault unless it is empty."""
    changes.ChangeSignal = EachChange  # type: ignore[assignment, misc]
    if fault:
        break_broker(fault)
    runpy.run_module("services.broker", run_name="__main__")


if __name__ == "__main__":
    main("".join(sys.argv[1:]))
