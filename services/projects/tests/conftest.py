"""Fixtures: the parts of the room on a real disk, with the real git, and an upstream."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from services.egress import Address
from services.projects import sources
from services.projects.access import Gate
from services.projects.apps import Apps
from services.projects.credentials import PREFIX, Credentials
from services.projects.fetches import Fetches, Listener
from services.projects.progress import Step
from services.projects.projects import Projects
from services.projects.repositories import Repositories
from services.projects.rest import Rest
from services.projects.store import Store
from services.quarantine.tests.worktree import WorkTree
from services.resolve import LookupFailedError
from wire.records.projects import AddOptions, Project, ProjectState

LIMIT = 60.0


class FakeNames:
    """A resolver that knows what a test has told it."""

    def __init__(self) -> None:
        self.known: dict[str, list[Address]] = {}

    def add(self, name: str, *addresses: str) -> None:
        self.known[name] = [ip_address(address) for address in addresses]

    async def resolve(self, name: str) -> list[Address]:
        if name not in self.known:
            raise LookupFailedError("the name has no address")
        return self.known[name]


class FakeAgents:
    """The agents, as lifecycle shows them."""

    def __init__(self) -> None:
        self.projects: dict[str, list[str]] = {}

    async def having(self, project: str) -> list[str]:
        return [agent for agent, projects in self.projects.items() if project in projects]


class Room:
    """The room in `root`, which can be stopped and started again."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.names = FakeNames()
        self.agents = FakeAgents()
        self.changes: list[tuple[str, str]] = []
        self.steps: list[tuple[str, Step]] = []
        self._changed = asyncio.Condition()
        self._told: set[asyncio.Task[None]] = set()
        self.secrets = root.parent / "credentials"
        self.context: ssl.SSLContext | None = None
        """The certificates that are trusted by the client of REST APIs."""
        root.mkdir(exist_ok=True)
        self.secrets.mkdir(exist_ok=True)

    async def start(self) -> None:
        self.store = Store(self.root / "projects.sqlite")
        self.repositories = Repositories(self.root)
        apps = Apps(self.root.parent / "run", Rest(self.context))
        self.gate = Gate(Credentials(self.secrets), self.names, apps)
        self.fetches = Fetches(self.store, self.repositories, self.gate)
        self.projects = Projects(
            self.store, self.repositories, self.gate, self.fetches, self.agents
        )
        listener = Listener(self._change, lambda name, step: self.steps.append((name, step)))
        self.projects.listen(listener, lambda name: self._change(name, "gone"))
        await self.projects.reconcile()
        self.projects.start()

    async def stop(self) -> None:
        await self.projects.close()
        self.store.close()

    def _change(self, name: str, state: str) -> None:
        self.changes.append((name, str(state)))

        async def tell() -> None:
            async with self._changed:
                self._changed.notify_all()

        task = asyncio.ensure_future(tell())
        self._told.add(task)
        task.add_done_callback(self._told.discard)

    def credential(self, name: str, text: str) -> None:
        file = self.secrets / f"{PREFIX}{name}"
        file.write_text(text)
        file.chmod(0o600)

    async def settled(self, name: str) -> Project:
        """Wait until no fetch of a project goes on; return it."""
        async with asyncio.timeout(LIMIT), self._changed:
            await self._changed.wait_for(lambda: self.state(name) is not ProjectState.FETCHING)
        [found] = [one for one in await self.projects.list() if one.name == name]
        return found

    async def added(self, name: str, source: str, **options: Any) -> Project:
        """Add a project, and wait for its first fetch."""
        await self.projects.add(name, source, AddOptions(**options))
        return await self.settled(name)

    async def fetched(self, name: str) -> Project:
        self.projects.fetch(name)
        return await self.settled(name)

    def state(self, name: str) -> ProjectState:
        return self.store.get(name).state


@pytest.fixture(autouse=True)
def directories_of_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an upstream lie in the directory of a test, which is a temporary one."""
    monkeypatch.setattr(sources, "PRIVATE", ())


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    room = Room(tmp_path / "projects")
    await room.start()
    yield room
    await room.stop()


@pytest.fixture
def upstream(tmp_path: Path) -> WorkTree:
    """A repository with a commit, in a directory of the host."""
    made = WorkTree(tmp_path / "upstream")
    made.commit({"README": "one\n"})
    return made
