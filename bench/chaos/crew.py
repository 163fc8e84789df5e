"""The client processes: started, listened to, and started again after any end."""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from typing import Final

from bench.chaos.notes import Call, Kind, Note, Order
from bench.chaos.observer import Observer

CREW: Final = {"sender": "sender", "reader 1": "reader", "reader 2": "reader", "raw": "raw"}
PAUSE: Final = 0.2
"""Seconds before the next start, so that a socket that refuses is not asked all the time."""


class Member:
    """One place in the crew, filled by one process after the other."""

    def __init__(self, name: str, kind: str, seed: int, observer: Observer) -> None:
        self.pid = 0
        self._name = name
        self._kind = kind
        self._seed = seed
        self._observer = observer
        self._process: Process | None = None
        self._orders: dict[str, Order] = {}
        self._task = asyncio.get_running_loop().create_task(self._run(), name=name)

    def order(self, call: Call, to: str, body: str) -> None:
        """Say something, once; the successor of a dead process says it again.

        The key is made of the call and the text.
        """
        key = f"{call} {body}"
        self._orders[key] = Order(call, key, to, body)
        self._tell(self._orders[key])

    @property
    def owing(self) -> int:
        """Return how many orders have not returned."""
        return len(self._orders)

    def owing_to(self, to: str) -> int:
        """Return how many of them are for the inbox `to`."""
        return sum(order.to == to for order in self._orders.values())

    async def stop(self) -> None:
        """End it for good; raise the error that has ended it before, if any."""
        if self._task.done() and not self._task.cancelled():
            self._task.result()
        self._task.cancel()
        await asyncio.wait({self._task})
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def _run(self) -> None:
        for life in range(1_000_000):
            seed = f"{self._seed} {self._name} {life}"
            command = ["-m", "bench.chaos.client", self._kind, seed]
            process = await asyncio.create_subprocess_exec(
                sys.executable, *command, stdin=PIPE, stdout=PIPE, limit=2**22
            )
            self._process, self.pid = process, process.pid
            for order in self._orders.values():
                self._tell(order)
            assert process.stdout
            while (line := await process.stdout.readline()).endswith(b"\n"):
                self._noted(f"{self._name} {life}", Note.read(line))
            self.pid = 0
            await process.wait()
            self._observer.ended(self._name)
            # A client that cannot connect ends at once.
            await asyncio.sleep(PAUSE)

    def _noted(self, client: str, note: Note) -> None:
        if note.kind is Kind.SENT:
            self._orders.pop(note.key, None)
        self._observer.noted(client, note)

    def _tell(self, order: Order) -> None:
        if self.pid and self._process and self._process.stdin:
            self._process.stdin.write(order.line())


def hire(seed: int, observer: Observer) -> dict[str, Member]:
    """Return all of them, by name."""
    return {name: Member(name, kind, seed, observer) for name, kind in CREW.items()}
