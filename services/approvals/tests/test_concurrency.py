"""Several people act at once, in an order from a seed; everything agrees in the end."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from services.approvals.tests.fake_services import removed
from services.approvals.tests.room import MANAGER, OPERATOR, Room, memory
from wire.errors import HiveError
from wire.records.approvals import ApprovalState

AGENTS = ("alice", "bob", "carol")
DEEDS = 60


class Crowd(Room):
    """A room that works by itself, and people who act now and then."""

    def __init__(self, path: Path, seed: int) -> None:
        super().__init__(path)
        self.chance = random.Random(seed)
        self.faults.slow = True

    async def live(self) -> None:
        self.notifier.deliverer.start()
        working = asyncio.create_task(self.controller.run())
        people = [asyncio.create_task(self._person()) for _ in range(4)]
        await asyncio.gather(*people)
        for _ in range(20):
            for _ in range(200):
                await asyncio.sleep(0)
            self.lifecycle.end_all()
        working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working
        await self.notifier.deliverer.stop()

    async def _person(self) -> None:
        for _ in range(DEEDS // 4):
            deed = self.chance.choice((
                self._spawn, self._apply, self._apply, self._revert, self._decide, self._decide,
                self._decide, self._end, self._end, self._come, self._go, self._lose,
            ))  # fmt: skip
            with contextlib.suppress(HiveError, TimeoutError):
                async with asyncio.timeout(0.05):
                    await deed(self.chance.choice(AGENTS))
            for _ in range(self.chance.randrange(20)):
                await asyncio.sleep(0)

    def _who(self) -> str:
        return self.chance.choice((MANAGER, OPERATOR))

    async def _spawn(self, agent: str) -> None:
        await self.approvals.request_spawn(self._who(), agent, "x", self.chance.choice((None, "#")))

    async def _apply(self, agent: str) -> None:
        ours = self.git.applied[agent].commits if agent in self.git.applied else {}
        base = self.chance.choice([*ours, None])
        commit = self.git.propose(agent, f"# {self.chance.random()}", base)
        revert = self.chance.random() < 0.2
        await self.approvals.request_apply(self._who(), agent, commit, "x", revert=revert)

    async def _revert(self, agent: str) -> None:
        tag = f"deployed/{self.chance.randrange(6)}"
        await self.approvals.revert(self._who(), agent, tag)

    async def _decide(self, agent: str) -> None:
        pending = self.store.find(state=ApprovalState.PENDING)
        if not pending:
            return
        number = self.chance.choice(pending).id
        decisions: list[Awaitable[Any]] = [
            self.yes(number),
            self.yes(number, now=True),
            self.no(number, "no"),
            self.approvals.withdraw(self._who(), number),
        ]
        chosen = self.chance.choices(range(4), weights=(6, 2, 1, 1))[0]
        for at, decision in enumerate(decisions):
            if at != chosen:
                decision.close()  # type: ignore[attr-defined]
        await decisions[chosen]

    async def _end(self, agent: str) -> None:
        if any(job.agent == agent for job in self.lifecycle.jobs.values()):
            self.lifecycle.end(agent, self.chance.choice(("done", "done", "failed", "cancelled")))

    async def _come(self, agent: str) -> None:
        if agent not in self.lifecycle.agents:
            self.lifecycle.agents[agent] = self.lifecycle.kept.pop(agent, "")
            self.controller.job_removed(removed("/job/0", agent, "spawn", "done", ""))

    async def _go(self, agent: str) -> None:
        busy = any(job.agent == agent for job in self.lifecycle.jobs.values())
        if agent in self.lifecycle.agents and not busy and self.chance.random() < 0.3:
            self.lifecycle.destroy(agent, purge=False)

    async def _lose(self, agent: str) -> None:
        self.controller.lifecycle_vanished()


@pytest.mark.parametrize("seed", range(20))
async def test_a_crowd_leaves_everything_in_agreement(seed: int) -> None:
    with TemporaryDirectory(dir=memory()) as directory:
        crowd = Crowd(Path(directory) / "approvals.sqlite", seed)
        try:
            await crowd.start()
            await crowd.live()
            await crowd.check()
        finally:
            crowd.close()
