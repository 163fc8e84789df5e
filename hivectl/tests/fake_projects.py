# ruff: noqa: N802 -- D-Bus members are PascalCase
"""A fake of projects."""

from typing import Any

from hivectl.tests.fake_agent import COMMIT, SINCE
from wire import names
from wire.errors import NotFound
from wire.interface import Interface, method, signal
from wire.principal import OPERATOR
from wire.records import decode
from wire.records.projects import (
    AddOptions,
    Branch,
    Project,
    ProjectDetails,
    ProjectState,
    SetOptions,
)
from wire.types import Dict, Str, UInt64


def project(name: str, **values: Any) -> Project:
    """Return a project that was fetched."""
    head = (name, "https://forge.example/w.git", "main", ProjectState.READY, "", COMMIT)
    return Project(*head, SINCE, SINCE, 3 * 2**20, "", 0, "", False, [])._replace(**values)


class FakeProjects(Interface, name=names.PROJECTS):
    """A fetch ends before it is answered, with `outcome`."""

    def __init__(self) -> None:
        self.projects: dict[str, Project] = {}
        self.calls: list[tuple[Any, ...]] = []
        self.outcome: dict[str, Any] = {}
        self.branches: list[Branch] = []
        self.host_keys: list[str] = []

    def _fetch(self, name: str) -> None:
        if name not in self.projects:
            raise NotFound(f"There is no project {name!r}; `hivectl project list` shows all.")
        self.FetchProgress(name, "Receiving objects", 1, 2)
        self.projects[name] = self.projects[name]._replace(**self.outcome)
        self.ProjectChanged(name, self.projects[name].state)

    @method(allow=OPERATOR)
    async def Add(self, name: Str, source: Str, options: Dict) -> None:
        self.calls.append(("add", name, source, decode(AddOptions, options)))
        self.projects[name] = project(name, source=source)
        self._fetch(name)

    @method(allow=OPERATOR)
    async def Set(self, name: Str, options: Dict) -> None:
        self.calls.append(("set", name, decode(SetOptions, options)))
        self._fetch(name)

    @method(allow=OPERATOR)
    async def Remove(self, name: Str) -> None:
        self.calls.append(("remove", name))

    @method(allow=OPERATOR)
    async def Fetch(self, name: Str) -> None:
        self.calls.append(("fetch", name))
        self._fetch(name)

    @method(allow=OPERATOR)
    async def CancelFetch(self, name: Str) -> None:
        self.calls.append(("cancel", name))

    @method(allow=OPERATOR)
    async def List(self) -> list[Project]:
        return list(self.projects.values())

    @method(allow=OPERATOR)
    async def Show(self, name: Str) -> ProjectDetails:
        found = self.projects[name]
        return ProjectDetails(found, self.branches, len(self.branches), 1, self.host_keys)

    @signal()
    def ProjectChanged(self, name: Str, state: Str) -> None: ...

    @signal()
    def FetchProgress(self, name: Str, phase: Str, done: UInt64, total: UInt64) -> None: ...
