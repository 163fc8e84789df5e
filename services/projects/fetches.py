"""The fetches of all projects: one at a time for each, and a few together."""

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from services.projects import failures, sources
from services.projects.access import Access
from services.projects.model import Row
from services.projects.progress import Progress, Step
from services.projects.repositories import Repositories
from services.projects.sources import Source
from services.projects.store import Store
from services.tasks import Tasks
from wire.errors import Conflict, HiveError
from wire.records.projects import ProjectState

log = logging.getLogger(__name__)

AT_ONCE: Final = 2
"""Fetches that go on together; others wait."""
PAUSE: Final = 5.0
"""Seconds between two tries to keep the end of a fetch on a full disk."""
DEFAULT_BRANCH: Final = "main"
CANCELLED: Final = "The fetch was cancelled. `hivectl project fetch {name}` begins again."

_NO_COMMITS: Final = "It has no commits yet."


class Way(Protocol):
    """The way to upstreams; see access.py."""

    async def open(
        self, source: Source, credential: str, *, private: bool, known_hosts: Path
    ) -> Access:
        """Return the way to an upstream."""


class Listener(NamedTuple):
    """The functions that are told about fetches."""

    changed: Callable[[str, ProjectState], None]
    progress: Callable[[str, Step], None]


class _FailedError(Exception):
    """A fetch failed; the text is the sentence for the operator."""


class Fetches:
    """The fetches. The row says that one is wanted, so a crash forgets none."""

    def __init__(self, store: Store, repositories: Repositories, way: Way) -> None:
        self.listener: Listener | None = None
        self.on_ready: Callable[[str], None] = lambda name: None
        """Called with the name of each project that was fetched."""
        self._store = store
        self._repositories = repositories
        self._way = way
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._tasks = Tasks()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()

    def begin(self, name: str) -> None:
        """Fetch a project, whose row says so already; once more if a fetch of it goes on."""
        if name in self._running:
            self._again.add(name)
            return
        self._running[name] = self._tasks.start(self._run(name), f"fetch {name}")

    async def stop(self, name: str) -> bool:
        """End the fetch of a project, and wait for that; return whether there was one."""
        task = self._running.get(name)
        self._again.discard(name)
        if task is None:
            return False
        task.cancel()
        await asyncio.wait({task})
        self._running.pop(name, None)  # it may not have begun
        return True

    async def cancel(self, name: str) -> None:
        """End the fetch of a project, for good.

        Raises:
            Conflict: none goes on.
        """
        if not await self.stop(name):
            raise Conflict(f"No fetch of {name} goes on.")
        self._end(name, ProjectState.FAILED, CANCELLED.format(name=name))

    async def close(self) -> None:
        """End all fetches; the next start does them again."""
        await self._tasks.cancel()

    async def _run(self, name: str) -> None:
        try:
            async with self._slots:
                await self._fetch_once(name)
            while name in self._again:
                self._again.discard(name)
                async with self._slots:
                    await self._fetch_once(name)
        except HiveError as error:
            log.error("The end of the fetch of %s could not be kept: %s", name, error)
            await self._keep_failure(name, str(error))
        finally:
            self._running.pop(name, None)

    async def _keep_failure(self, name: str, reason: str) -> None:
        """Keep that a fetch failed, as soon as the disk takes that."""
        while True:
            # No event tells that the disk has room again.
            await asyncio.sleep(PAUSE)
            try:
                self._end(name, ProjectState.FAILED, reason)
            except HiveError:
                continue
            return

    async def _fetch_once(self, name: str) -> None:
        row = self._store.find(name)
        if row is None or row.state is not ProjectState.FETCHING:
            return
        try:
            async with self._repositories.upstream(name):
                await self._fetch(row)
        except (HiveError, _FailedError) as error:
            log.warning("%s could not be fetched: %s", name, error)
            self._end(name, ProjectState.FAILED, str(error))
        except Exception:
            log.exception("The fetch of %s failed.", name)
            self._end(name, ProjectState.FAILED, "The fetch failed; the journal says why.")

    async def _fetch(self, row: Row) -> None:
        source = sources.parse(row.source)
        name, repositories = row.name, self._repositories
        await repositories.create(name, row.branch or DEFAULT_BRANCH)
        access = await self._open(row, source)
        branch = row.branch or await self._ask_branch(name, source, access)
        progress = Progress(lambda step: self._tell_progress(name, step))
        ended = await repositories.fetch(
            name,
            source.text,
            access,
            depth=row.depth,
            filter=row.filter,
            heard=progress.hear,
        )
        if ended.status:
            raise _FailedError(failures.sentence(name, source, ended))
        if row.filter:
            # Anew: the first fetch may have lasted longer than a token.
            access = await self._open(row, source)
            files = await repositories.fetch_files(
                name, source.text, access, branch=branch, filter=row.filter
            )
            if files and files.status:
                raise _FailedError(failures.sentence(name, source, files))
        await repositories.tidy(name)
        await self._finish(name, branch)

    async def _open(self, row: Row, source: Source) -> Access:
        return await self._way.open(
            source,
            row.credential,
            private=row.private,
            known_hosts=self._repositories.known_hosts(row.name),
        )

    async def _ask_branch(self, name: str, source: Source, access: Access) -> str:
        ended, branch = await self._repositories.head(name, source.text, access)
        if ended.status:
            raise _FailedError(failures.sentence(name, source, ended))
        return branch or DEFAULT_BRANCH

    async def _finish(self, name: str, branch: str) -> None:
        """Keep that the fetch succeeded, if the branch is there.

        The operator may have named another branch meanwhile.
        """
        repositories = self._repositories
        branch = self._store.get(name).branch or branch
        await repositories.set_head(name, branch)
        size, notes, branches = await asyncio.gather(
            repositories.size(name),
            repositories.notes(name, branch),
            repositories.branches(name),
        )
        row = self._store.get(name)._replace(
            branch=branch, size=size, notes=notes, fetched=time.time_ns() // 1000
        )
        if branches and branch not in branches:
            known = ", ".join(branches[:5])
            self._put(
                row._replace(
                    state=ProjectState.FAILED,
                    message=f"Upstream has no branch {branch}; it has {known}. Name one: hivectl "
                    f"project set {name} --branch BRANCH",
                )
            )
            return
        if not branches:
            row = row._replace(notes=(_NO_COMMITS, *notes))
        self._put(row._replace(state=ProjectState.READY, message=""))

    def _end(self, name: str, state: ProjectState, message: str) -> None:
        row = self._store.find(name)
        if row is not None and row.state is ProjectState.FETCHING:
            self._put(row._replace(state=state, message=message))

    def _put(self, row: Row) -> None:
        # A fetch that was asked for meanwhile goes on at once.
        if row.name in self._again and row.state is not ProjectState.REMOVING:
            row = row._replace(state=ProjectState.FETCHING, message="")
        self._store.put(row)
        if self.listener:
            self.listener.changed(row.name, row.state)
        if row.state is ProjectState.READY:
            self.on_ready(row.name)

    def _tell_progress(self, name: str, step: Step) -> None:
        if self.listener:
            self.listener.progress(name, step)
