"""A ledger and a resolver that tests steer."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address

from services.egress import Address
from services.resolve import LookupFailedError
from wire.errors import HiveError
from wire.records.ledger import EgressReport, ReserveRequest, Settlement


@dataclass
class FakeLedger:
    """A ledger that takes all, unless a test gives it errors."""

    reserved: dict[int, ReserveRequest] = field(default_factory=dict)
    settled: dict[int, Settlement] = field(default_factory=dict)
    released: list[str] = field(default_factory=list)
    """The keys of reservations whose answer was lost."""
    egress: list[EgressReport] = field(default_factory=list)
    checked: list[tuple[str, int, str]] = field(default_factory=list)
    once: set[tuple[str, int]] = field(default_factory=set)
    refuse: list[HiveError] = field(default_factory=list)
    """Errors of the next reservations."""
    asked_in_vain: list[ReserveRequest] = field(default_factory=list)
    """The reservations that got an error."""
    fail: list[HiveError] = field(default_factory=list)
    """Errors of the next settlements, reports and checks."""
    until: int = 0
    tries: int = 0
    slow: asyncio.Event | None = None
    """Lets reservations wait."""

    def __post_init__(self) -> None:
        self._back: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._changed = asyncio.Event()

    async def reserve(self, request: ReserveRequest) -> int:
        if self.refuse:
            self.asked_in_vain.append(request)
            self._changed.set()
            raise self.refuse.pop(0)
        id = len(self.reserved) + 1
        self.reserved[id] = request
        self._changed.set()
        if self.slow is not None:
            await self.slow.wait()
        return id

    async def settle(self, id: int, usage: Settlement) -> None:
        self.tries += 1
        self._changed.set()
        if self.fail:
            raise self.fail.pop(0)
        assert id in self.reserved
        assert id not in self.settled, "settled twice"
        self.settled[id] = usage

    async def release(self, key: str) -> None:
        self._changed.set()
        if self.fail:
            raise self.fail.pop(0)
        self.released.append(key)

    async def limited_until(self) -> int:
        return self.until

    async def report_egress(self, report: EgressReport) -> None:
        if self.fail:
            raise self.fail.pop(0)
        self.egress.append(report)
        self._changed.set()

    async def check_egress(self, host: str, port: int, reason: str) -> bool:
        self.checked.append((host, port, reason))
        if self.fail:
            raise self.fail.pop(0)
        return (host, port) in self.once

    def back(self) -> "asyncio.Future[None]":
        return self._back

    def come_back(self) -> None:
        self._back.set_result(None)
        self._back = asyncio.get_running_loop().create_future()

    async def until_true(self, condition: Callable[[], object]) -> None:
        """Wait until `condition` holds, which is asked after each call."""
        async with asyncio.timeout(20):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def settlement(self, number: int = 1) -> Settlement:
        """Return the settlement of the request `number`, when it has come."""
        await self.until_true(lambda: number in self.settled)
        return self.settled[number]


class FakeNames:
    """A resolver of names that a test knows; each lookup takes the next answer."""

    def __init__(self) -> None:
        self.known: dict[str, list[list[str]]] = {}
        self.asked: list[str] = []

    def add(self, name: str, *answers: list[str]) -> None:
        """Let lookups of `name` return `answers`, one after the other; the last one stays."""
        self.known[name] = list(answers)

    async def resolve(self, name: str) -> list[Address]:
        self.asked.append(name)
        answers = self.known.get(name)
        if not answers:
            raise LookupFailedError("the name has no address")
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return [ip_address(address) for address in answer]
