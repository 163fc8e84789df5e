"""A lifecycle with fake containers and a fake broker, which can be restarted."""

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

from services.config import LifecycleConfig
from services.lifecycle.__main__ import compose
from services.lifecycle.agents.agent import Agent
from services.lifecycle.agents.record import Record
from services.lifecycle.lifecycle import Lifecycle
from services.lifecycle.store import Store
from services.lifecycle.tests.fakes import Diary, FakeBackend, FakeBroker, FakeLedger
from wire.records.lifecycle import AgentState, JobResult, JobVerb, SpawnOptions

DONE = (JobResult.DONE, "")


class Room:
    """A lifecycle and its surroundings. `close` and `open` are a restart."""

    def __init__(self, folder: Path) -> None:
        self.backend = FakeBackend()
        self.broker = FakeBroker()
        self.ledger = FakeLedger()
        self.broker.agents.add("manager")
        self.version = "1"
        self.settings = LifecycleConfig(create_manager=False)
        self._file = folder / "lifecycle.sqlite"

    async def open(self) -> None:
        self.diary = Diary()
        self.store = Store(self._file)
        self.parts = compose(
            self.store,
            self.backend,
            self.broker,
            self.ledger,
            self.diary,
            self.settings,
            self.version,
        )
        self.orders, self.jobs = self.parts.orders, self.parts.jobs
        self.harnesses = self.parts.harnesses
        self.lifecycle = Lifecycle(
            self.parts, self.store, self.backend, self.settings, self.version
        )
        self._others = asyncio.all_tasks()
        await self.lifecycle.start()

    async def close(self) -> None:
        await self.lifecycle.stop()
        self.store.close()

    async def reboot(self) -> None:
        """Restart with the host, on which nothing fails any more."""
        await self.close()
        self.backend.fail.clear()
        self.backend.stopping = False
        await self.open()

    async def spawn(self, name: str) -> None:
        assert await self.diary.end_of(self.orders.spawn(name, SpawnOptions())) == DONE

    async def order(self, verb: JobVerb, name: str) -> None:
        assert await self.diary.end_of(self.orders.order(verb, name)) == DONE

    @property
    def agents(self) -> Iterable[Agent]:
        """All agents."""
        return self.parts.roster.agents.values()

    def record(self, name: str) -> Record:
        record = self.store.find(name)
        assert record is not None
        return record

    def state(self, name: str) -> AgentState:
        return next(a.state for a in self.agents if a.name == name)

    async def until(self, holds: Callable[[], object]) -> None:
        """Wait, change by change, until `holds()` is true."""
        async with asyncio.timeout(30):
            while not holds():
                await self.diary.news()

    async def told(self, count: int) -> list[str]:
        """Wait for `count` messages in all; return their kinds."""
        async with asyncio.timeout(5):
            while len(self.broker.sent) < count:
                self.broker.arrived.clear()
                await self.broker.arrived.wait()
        return [notice.kind for notice in self.broker.sent]

    async def settle(self) -> None:
        """Wait until all reported changes are handled."""
        async with asyncio.timeout(5):
            await self.parts.monitor.settle()

    async def kill(self) -> None:
        """Die like `kill -9`: write nothing more, and clean nothing up."""
        self.store.close()
        tasks = asyncio.all_tasks() - self._others - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
