"""A fake of the service of projects."""

# ruff: noqa: N802 - D-Bus members are PascalCase

import asyncio
import hmac
from typing import Any

from services.dashboard.tests.fakes.now import NOW
from wire import names
from wire.errors import AccessDenied, NotFound
from wire.interface import Interface, method, signal
from wire.principal import EVERYBODY, OPERATOR
from wire.records.projects import Branch, Project, ProjectDetails, ProjectState
from wire.types import Bytes, Dict, Str, UInt64

SECRET = b"a secret of the forge"
TIP = "b" * 40


class FakeProjects(Interface, name=names.PROJECTS):
    """Takes the webhooks that Forgejo has signed with SECRET, and keeps the projects of a test."""

    def __init__(self) -> None:
        self.received: list[tuple[str, dict[str, str], bytes]] = []
        self.at_once = 0
        self.go_on = asyncio.Event()
        """Set, unless a test lets webhooks wait."""
        self.go_on.set()
        self._running = 0
        self.projects: dict[str, Project] = {}
        self.branches: list[Branch] = []
        self.calls: list[tuple[str, str]] = []

    def add(self, name: str = "website", **values: Any) -> None:
        """Add a project, or change it, and signal that."""
        fresh = Project(
            name=name,
            source=f"https://forge.example.org/{name}.git",
            branch="main",
            state=ProjectState.READY,
            message="",
            commit=TIP,
            fetched=NOW,
            added=NOW,
            size=3_000_000,
            credential="",
            depth=0,
            filter="",
            private=False,
            notes=[],
        )
        self.projects[name] = self.projects.get(name, fresh)._replace(**values)
        self.ProjectChanged(name, self.projects[name].state)

    @method(allow=OPERATOR)
    async def List(self) -> list[Project]:
        return list(self.projects.values())

    @method(allow=OPERATOR)
    async def Show(self, name: Str) -> ProjectDetails:
        if name not in self.projects:
            raise NotFound(f"There is no project {name!r}.")
        return ProjectDetails(self.projects[name], self.branches, len(self.branches), 0, [])

    @method(allow=OPERATOR)
    async def Fetch(self, name: Str) -> None:
        self.calls.append(("fetch", name))
        if name not in self.projects:
            raise NotFound(f"There is no project {name!r}.")
        self.add(name, state=ProjectState.FETCHING)

    @method(allow=OPERATOR)
    async def CancelFetch(self, name: Str) -> None:
        self.calls.append(("cancel", name))
        if name not in self.projects:
            raise NotFound(f"There is no project {name!r}.")
        self.add(name, state=ProjectState.READY)

    @method(allow=EVERYBODY)
    async def ReceiveHook(self, name: Str, headers: Dict, body: Bytes) -> None:
        self._running += 1
        self.at_once = max(self.at_once, self._running)
        try:
            await self.go_on.wait()
        finally:
            self._running -= 1
        self.received.append((name, headers, body))
        if headers.get("x_forgejo_signature") != sign(body):
            raise AccessDenied("the signature is wrong")

    @signal()
    def ProjectChanged(self, name: Str, state: Str) -> None: ...

    @signal()
    def ProjectRemoved(self, name: Str) -> None: ...

    @signal()
    def FetchProgress(self, name: Str, phase: Str, done: UInt64, total: UInt64) -> None: ...


def sign(body: bytes) -> str:
    return hmac.digest(SECRET, body, "sha256").hex()
