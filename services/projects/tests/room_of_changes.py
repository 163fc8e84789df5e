"""The room with agents that hand changes back, on a real disk with the real git."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from services.deliverer import Deliverer
from services.projects.changes import notices
from services.projects.changes.changes import Changes
from services.projects.changes.comparisons import Comparisons
from services.projects.changes.model import Notice, Row
from services.projects.changes.publishing import Publishing
from services.projects.changes.review import Review
from services.projects.changes.store import Store as ChangeStore
from services.projects.changes.submissions import BOUNDS, Submissions
from services.projects.tests.conftest import LIMIT, Room
from services.quarantine.tests.worktree import WorkTree
from wire import names
from wire.records.changes import (
    ApproveChangeOptions,
    ChangeDiff,
    ChangeDiffOptions,
    ChangeState,
    PublishMode,
    SubmitOptions,
)
from wire.records.lifecycle import ProjectAccess


class FakeMembers:
    """The projects of the agents, as a test gives them."""

    def __init__(self) -> None:
        self.known: dict[str, dict[str, ProjectAccess]] = {}

    async def grants(self, agent: str) -> dict[str, ProjectAccess]:
        return self.known.get(agent, {})


class FakeBroker:
    """A broker that takes each message once."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []
        self.error: Exception | None = None

    async def send(self, notice: Notice) -> None:
        if self.error is not None:
            raise self.error
        self.sent.append((notice.recipient, notice.body))


class ChangesRoom(Room):
    """The room in `root`, with the working copies of agents beside it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.members = FakeMembers()
        self.broker = FakeBroker()
        self.copies = root.parent / "agents"
        self.scratch = root.parent / "scratch"
        self.scratch.mkdir(exist_ok=True)
        self.bounds = BOUNDS
        self.told: list[tuple[int, str]] = []
        self._changed_changes = asyncio.Event()

    async def start(self) -> None:
        await super().start()
        self.change_store = ChangeStore(self.root / "changes.sqlite")
        self.submissions = Submissions(
            self.repositories, self.copies, scratch=self.scratch, bounds=self.bounds
        )
        self.rules = Changes(
            self.change_store, self.store, self.repositories, self.submissions, self.members
        )
        self.comparisons = Comparisons(self.change_store, self.repositories, scratch=self.scratch)
        self.publishing = Publishing(
            self.change_store,
            self.store,
            self.repositories,
            self.gate,
            self.projects.fetch_quietly,
        )
        self.review = Review(self.change_store, self.store, self.repositories, self.publishing)
        self.deliverer: Deliverer[Notice] = notices.deliverer(self.change_store, self.broker)
        self.rules.on_change = self._heard
        self.projects.on_deleted = self.rules.project_removed
        self.publishing.on_change = self.review.on_change = self.rules.announce
        self.fetches.on_ready = self.publishing.project_ready
        await self.rules.reconcile()
        self.publishing.start()

    async def stop(self) -> None:
        await self.publishing.close()
        await self.rules.close()
        self.change_store.close()
        await super().stop()

    def _heard(self, row: Row) -> None:
        self.told.append((row.id, str(row.state)))
        self._changed_changes.set()

    async def until(self, number: int, *states: str, noted: bool = False, after: int = 0) -> Row:
        """Wait until a change has one of the states; return it.

        With `noted`, an approved change whose note is newer than `after` ends the wait, too.
        """
        async with asyncio.timeout(LIMIT):
            while True:
                row = self.change_store.get(number)
                told = row.note and row.changed > after
                failed = noted and told and row.state is ChangeState.APPROVED
                if row.state in states or failed:
                    return row
                self._changed_changes.clear()
                await self._changed_changes.wait()

    async def approved(self, number: int, how: PublishMode | None = None) -> Row:
        """Approve a change as it is shown now, and return it when that is carried out."""
        shown = await self.diffed(number)
        options = ApproveChangeOptions(how)
        await self.review.approve(names.OPERATOR, number, shown.commit, shown.base, options)
        return await self.until(number, "merged", "published", "conflict", noted=True)

    def copy(
        self,
        agent: str,
        project: str,
        *,
        readonly: bool = False,
        branches: list[str] | None = None,
    ) -> WorkTree:
        """Give an agent a project with a working copy as the harness makes it."""
        self.members.known.setdefault(agent, {})[project] = ProjectAccess(
            project, readonly=readonly, branches=branches or []
        )
        made = WorkTree(self.copies / agent / "work" / project)
        home = self.repositories.home(project)
        (made.path / ".git/objects/info/alternates").write_text(f"{home}/objects\n")
        made.git("remote", "add", "origin", str(home))
        made.git("fetch", "-q", "origin")
        if made.git("branch", "-r"):
            made.git("reset", "-q", "--hard", "origin/main")
        return made

    async def submitted(
        self, agent: str, commit: str, *, project: str = "website", **options: Any
    ) -> int:
        return await self.rules.submit(
            agent, project, commit, "A better page", "It says more.", SubmitOptions(**options)
        )

    async def diffed(self, number: int, **options: Any) -> ChangeDiff:
        row = self.change_store.get(number)
        return await self.comparisons.diff(row, ChangeDiffOptions(**options))

    async def delivered(self) -> list[tuple[str, str]]:
        """Return the messages to agents, those that are still owed included."""
        await self.deliverer.deliver()
        return self.broker.sent


@asynccontextmanager
async def changes_room(root: Path, upstream: WorkTree) -> AsyncIterator[ChangesRoom]:
    """Run a room with the project `website`; nothing of quarantines is left at its end."""
    room = ChangesRoom(root)
    await room.start()
    await room.added("website", str(upstream.path))
    yield room
    await room.stop()
    assert not list(room.scratch.iterdir()), "nothing hostile is left"
