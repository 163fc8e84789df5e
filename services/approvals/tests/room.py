"""Approvals between stand-ins, driven step by step; a test may kill and restart it."""

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from services.approvals.approvals import Approvals
from services.approvals.comparisons import Comparisons
from services.approvals.configurations import Configurations
from services.approvals.deploys.adopter import Adopter
from services.approvals.deploys.controller import Controller
from services.approvals.deploys.deployer import Deployer
from services.approvals.deploys.reconciler import Reconciler
from services.approvals.ledger import Ledger
from services.approvals.model import IN_PROGRESS, Approval, history, tag
from services.approvals.notifier import Notifier
from services.approvals.store import Store
from services.approvals.tests.fake_git import FakeMeta, FakeRepositories
from services.approvals.tests.fake_services import FakeBroker, FakeLifecycle
from services.approvals.tests.faults import Faults, Killed
from wire import names
from wire.records.approvals import ApprovalState
from wire.records.lifecycle import JobRemoved

WRITES = sorted(name for name in vars(Store) if not name.startswith("_"))
"""Every method that writes: a new one is never left out."""


class FaultyStore(Store):
    """A store in which each write is a step that may fail."""

    def __init__(self, path: Path, faults: Faults) -> None:
        super().__init__(path)
        self._faults = faults
        for name in WRITES:
            setattr(self, name, self._faulty(name))

    def _faulty(self, name: str) -> Callable[..., Any]:
        write = getattr(super(), name)

        def faulty(*arguments: Any, **named: Any) -> Any:
            with self._faults.here(name):
                return write(*arguments, **named)

        return faulty


MANAGER = names.MANAGER
OPERATOR = names.OPERATOR


def memory() -> str | None:
    """Return a directory in memory, where files cost no time; None: the host has none."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


class Room:
    """Everything that survives when approvals is killed, and the approvals that runs now."""

    approvals: Approvals

    def __init__(self, path: Path) -> None:
        self.path = path
        self.faults = Faults()
        self.lifecycle = FakeLifecycle(self.faults)
        self.broker = FakeBroker(self.faults)
        self.git = FakeRepositories(self.faults)
        self.meta = FakeMeta(self.faults)
        self.changes: list[tuple[int, ApprovalState]] = []
        self._stores: list[Store] = []
        self._clock = itertools.count(1_700_000_000_000_000, 1_000_000)

    async def start(self) -> None:
        """Start approvals as a new process does."""
        self.faults.dead = False
        self.store = FaultyStore(self.path, self.faults)
        self._stores.append(self.store)
        self.ledger = Ledger(self.store, max_pending=3, requests_per_hour=20)
        self.ledger.clock = lambda: next(self._clock)
        self.ledger.on_change = self._changed
        await self.git.prepare()
        await self.meta.recover()
        self.ledger.record_again()
        lifecycle = self.lifecycle
        self.reconciler = Reconciler(self.ledger, self.git, self.meta)
        deployer = Deployer(self.ledger, self.reconciler, lifecycle)
        adopter = Adopter(self.ledger, self.reconciler, lifecycle)
        self.notifier = Notifier(self.ledger, self.broker)
        self.controller = Controller(
            self.ledger, self.reconciler, deployer, adopter, self.notifier, lifecycle
        )
        self.lifecycle.told = self._told
        self.approvals = Approvals(
            *(self.ledger, self.git, self.meta, self.reconciler, deployer, lifecycle),
        )
        self.comparisons = Comparisons(self.ledger, self.git, self.reconciler)
        self.configurations = Configurations(
            self.approvals, self.ledger, self.git, self.comparisons
        )

    def close(self) -> None:
        for store in self._stores:
            store.close()

    async def rest(self) -> None:
        """Work until there is nothing more to do."""
        while self.ledger.changed.is_set():
            self.ledger.changed.clear()
            await self.controller.step()
        await self.notifier.deliverer.deliver()

    async def do(self, asked: Awaitable[Any]) -> Any:
        """Return the answer to a call, while the room works."""
        async with asyncio.timeout(5):
            task = asyncio.ensure_future(asked)
            try:
                while not task.done():
                    await self.rest()
                    await asyncio.sleep(0)
                await self.rest()
                return await task
            finally:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception, Killed):
                    await task

    async def agent(self, name: str = "alice") -> str:
        """Make an agent; return the commit that it runs."""
        self.lifecycle.agents[name] = ""
        self.controller.lifecycle_appeared()
        await self.rest()
        main = await self.git.resolve(name, "main")
        assert main
        return main

    async def propose(self, agent: str, text: str) -> str:
        """Commit on top of what is deployed, as the manager does; return the commit."""
        return self.git.propose(agent, text, self.git.applied[agent].refs.get("main"))

    async def yes(self, number: int, *, now: bool = False) -> str:
        """Approve a request as it is shown now."""
        return await self.approvals.approve(number, self._shown(number), now=now)

    async def no(self, number: int, note: str) -> None:
        """Deny a request as it is shown now."""
        await self.approvals.deny(number, self._shown(number), note)

    def _shown(self, number: int) -> str:
        found = self.store.get(number)
        return found.commit if found else "0" * 40

    def row(self, number: int) -> Approval:
        approval = self.store.get(number)
        assert approval is not None
        return approval

    def state(self, number: int) -> ApprovalState:
        return self.row(number).state

    def tags(self, agent: str = "alice") -> set[str]:
        refs = self.git.applied[agent].refs
        return {ref.removeprefix("refs/tags/") for ref in refs if ref != "main"}

    async def check(self) -> None:
        """Check that rows, tags, meta and lifecycle agree, and that nothing is in progress."""
        with self.faults.off():
            rows = self.store.find()
            assert not [row for row in rows if row.state in IN_PROGRESS]
            assert not self.store.unrecorded()
            assert not self.store.unnotified()
            agents = set(self.git.agents())
            for agent in agents:
                await self._check_agent(agent, [r for r in rows if r.agent == agent])
            mains = {agent for agent in agents if await self.git.resolve(agent, "main")}
            assert set(await self.meta.deployed()) == mains

    async def _check_agent(self, agent: str, rows: list[Approval]) -> None:
        tags, main = await self.git.tags(agent), await self.git.resolve(agent, "main")
        told = {tag(state, row.id): row.commit for row in rows for state in history(row.state)}
        told |= {name: commit for name, commit in tags.items() if name == "deployed/0"}
        assert tags == told
        deployed = [(row.id, row.commit) for row in rows if row.state is ApprovalState.DEPLOYED]
        if deployed:
            assert main == deployed[-1][1]
            assert (await self.meta.deployed())[agent] == deployed[-1]
            assert (self.lifecycle.agents | self.lifecycle.kept)[agent] == main
        else:
            assert main == tags.get("deployed/0")
        logged = [deploy.approval for deploy in await self.meta.log(agent, 1000)]
        assert sorted(set(logged)) == sorted(logged)
        assert {number for number, _ in deployed} == set(logged) - {0}

    def _told(self, removed: JobRemoved) -> None:
        if not self.faults.dead:
            self.controller.job_removed(removed)

    def _changed(self, approval: Approval) -> None:
        self.changes.append((approval.id, approval.state))


async def spawn(room: Room, agent: str = "bob", config: str | None = None) -> int:
    """Request a new agent as the manager; return the id."""
    number: int = await room.do(room.approvals.request_spawn(MANAGER, agent, "to help", config))
    return number


async def apply(room: Room, text: str = "# faster\n", *, base: str | None = None) -> int:
    """Request another configuration of alice as the manager; return the id."""
    main = room.git.applied["alice"].refs["main"]
    commit = room.git.propose("alice", text, base or main)
    number: int = await room.do(
        room.approvals.request_apply(MANAGER, "alice", commit, "Faster\n\nand better")
    )
    return number


async def deployed(room: Room, text: str = "# faster\n") -> int:
    """Request, approve and deploy a configuration of alice; return the id."""
    number = await apply(room, text)
    await room.do(room.yes(number))
    room.lifecycle.end("alice")
    await room.rest()
    assert room.state(number) is ApprovalState.DEPLOYED
    return number
