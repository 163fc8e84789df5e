"""Stand-ins for lifecycle and the broker that record what they are asked."""

import asyncio

from services.approvals.approvals import Swarm
from wire.errors import HiveError


class FakeLifecycle:
    def __init__(self) -> None:
        self.agents: set[str] = set()
        self.spawning: set[str] = set()
        self.spawned: list[str] = []
        self.error: HiveError | None = None
        self.asked = asyncio.Event()

    async def swarm(self) -> Swarm:
        if self.error:
            raise self.error
        return Swarm(frozenset(self.agents), frozenset(self.spawning))

    async def spawn(self, agent: str) -> str:
        self.spawned.append(agent)
        self.asked.set()
        await asyncio.sleep(0)
        if self.error:
            raise self.error
        return f"/org/hyperhive/Lifecycle1/job/{len(self.spawned)}"


class FakeBroker:
    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.error: HiveError | None = None
        self.news = asyncio.Condition()

    async def tell_manager(self, body: str, dedupe_key: str) -> None:
        async with self.news:
            self.news.notify_all()
            if self.error:
                raise self.error
            self.told.append((body, dedupe_key))

    async def wait_told(self, count: int) -> None:
        async with asyncio.timeout(5), self.news:
            await self.news.wait_for(lambda: len(self.told) >= count)
