"""Approved changes on their way into their branches, and into those of upstream.

The row says that a change is approved; what is published follows from it alone. So a change that a
crash interrupts is carried on from the row and from what upstream has: nothing is pushed twice.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from services.projects import failures, sources
from services.projects.access import Access
from services.projects.changes import merges, notices
from services.projects.changes.changes import now
from services.projects.changes.model import Approval, RevisionRow, Row, merged_reference
from services.projects.changes.store import Store
from services.projects.fetches import Way
from services.projects.model import Row as ProjectRow
from services.projects.repositories import Repositories
from services.projects.sources import Source
from services.projects.store import Store as ProjectStore
from services.quarantine.runner import Ended, resolve
from services.tasks import Tasks
from wire import names
from wire.errors import Conflict, HiveError, Unavailable
from wire.records.changes import ChangeState, PublishMode
from wire.records.projects import ProjectState

log = logging.getLogger(__name__)

BRANCHES: Final = "hive/"
"""The beginning of the branches that are made for changes."""


_There = bool | None
"""Whether a branch has a commit; None: a fetch is needed to tell."""


class _Target(NamedTuple):
    """The branch that is to have a commit."""

    project: ProjectRow
    branch: str
    base: str
    """The commit that the branch has now; empty: there is no such branch."""
    commit: str


class _Upstream(NamedTuple):
    """The way to an upstream."""

    source: Source
    access: Access


class Publishing:
    """The task of each approved change."""

    def __init__(
        self,
        store: Store,
        projects: ProjectStore,
        repositories: Repositories,
        way: Way,
        fetch: Callable[[str], None],
    ) -> None:
        """Publish the approved changes of `store`.

        Args:
            store: the changes.
            projects: the projects.
            repositories: their repositories.
            way: the way to their upstreams.
            fetch: begins a fetch of a project, whose upstream has moved.
        """
        self.on_change: Callable[[Row], None] = lambda row: None
        """Called after each change that is on the disk."""
        self._store = store
        self._projects = projects
        self._repositories = repositories
        self._way = way
        self._fetch = fetch
        self._tasks = Tasks()
        self._running: set[int] = set()
        # Taken after the lock of the upstream, so that a change that waits for that can be denied.
        self._locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    def start(self) -> None:
        """Go on with what an earlier run did not end."""
        self._begin_all(None)

    def project_ready(self, project: str) -> None:
        """Try again, after a fetch that succeeded, with the changes that could not be pushed."""
        self._begin_all(project)

    async def close(self) -> None:
        """End what goes on; the next start goes on from there."""
        await self._tasks.cancel()

    def begin(self, number: int) -> None:
        """Begin to publish an approved change, unless that goes on."""
        if number not in self._running:
            self._running.add(number)
            self._tasks.start_detached(self._publish(number), f"publish {number}")

    def _begin_all(self, project: str | None) -> None:
        for row in self._store.alive(project):
            if row.state is ChangeState.APPROVED:
                self.begin(row.id)

    async def revoke(self, number: int, deny: Callable[[], None]) -> None:
        """Take the approval of a change back, unless its branch has it already.

        This waits for no fetch, unless a push has failed and upstream has moved since.

        Args:
            number: the change.
            deny: gives it another state.

        Raises:
            Conflict: its branch has it, or its state is final.
            Unavailable: upstream cannot be asked whether it has.
        """
        project = self._store.get(number).project
        async with self._locks[number]:
            if await self._revoked(number, deny, self._is_at_tip):
                return
        async with self._repositories.upstream(project), self._locks[number]:
            await self._revoked(number, deny, self._is_there)

    async def _revoked(
        self, number: int, deny: Callable[[], None], there: Callable[[_Target], Awaitable[_There]]
    ) -> bool:
        """Deny a change, unless `there` cannot tell whether its branch has it; return whether it
        could.

        Raises:
            Conflict: its branch has it, or its state is final.
        """
        row = self._store.get(number)
        if row.state is ChangeState.APPROVED:
            target = await self._target(row, make=False)
            found = await there(target) if target else False
            if found is None:
                return False
            if target and found:
                await self._done(row, target)
                raise Conflict(f"The branch has {names.change(number)} already.")
        deny()
        return True

    async def _publish(self, number: int) -> None:
        try:
            name = self._store.get(number).project
            async with self._repositories.upstream(name), self._locks[number]:
                row, project = self._store.get(number), self._projects.find(name)
                is_kept = project is not None and project.state is not ProjectState.REMOVING
                if row.state is ChangeState.APPROVED and is_kept:
                    await self._tried(row)
        finally:
            self._running.remove(number)

    async def _tried(self, row: Row) -> None:
        try:
            await self._carry_out(row)
        except HiveError as error:
            log.warning(
                "%s of %s is not published yet: %s", names.change(row.id), row.project, error
            )
            self._store.set_note(row.id, str(error), now())
            self.on_change(self._store.get(row.id))

    async def _carry_out(self, row: Row) -> None:
        target = await self._target(row, make=True)
        if target is None:
            return
        if target.project.source:
            await self._push(row, target, await self._open(target.project))
        else:
            await self._move(row, target)

    async def _target(self, row: Row, *, make: bool) -> _Target | None:
        """Return what is to be published where; None: nothing is, as it does not merge.

        Args:
            row: the change.
            make: whether the commit is made if there is none yet.
        """
        approval = self._store.approval(row.id)
        project = self._projects.get(row.project)
        home = self._repositories.home(row.project)
        reference = merged_reference(row.id, approval.revision)
        commit = await resolve(home, reference)
        if commit is None:
            if not make:
                return None
            revision = self._store.revision(row.id, approval.revision)
            commit = await self._made(row, revision, approval, reference)
            if not commit:
                return None
        if approval.how is PublishMode.BRANCH:
            return _Target(project, f"{BRANCHES}{names.change(row.id)}", "", commit)
        return _Target(project, row.branch, approval.base, commit)

    async def _made(
        self, row: Row, revision: RevisionRow, approval: Approval, reference: str
    ) -> str:
        """Return the commit that is published, and keep it; empty: the change does not merge."""
        home = self._repositories.home(row.project)
        async with self._repositories.writing(row.project):
            merged = await merges.merge(home, row, revision, approval)
        if merged.conflicts:
            files = ", ".join(merged.conflicts[:10])
            self._conflict(row, f"it does not merge with {row.branch} any more: {files}")
            return ""
        if not await self._repositories.move(row.project, reference, merged.commit, ""):
            raise Unavailable(f"{reference} of {row.project} could not be made.")
        return merged.commit

    async def _move(self, row: Row, target: _Target) -> None:
        """Move the branch of a project that has no upstream."""
        reference = f"refs/heads/{target.branch}"
        name = row.project
        if await self._repositories.move(
            name, reference, target.commit, target.base
        ) or await self._is_there(target):
            await self._done(row, target)
        else:
            self._conflict(row, f"{target.branch} has moved meanwhile")

    async def _push(self, row: Row, target: _Target, upstream: _Upstream) -> None:
        tip = await self._tip(target, upstream)
        if tip == target.base != target.commit:
            ended = await self._repositories.push(
                row.project,
                upstream.source.text,
                upstream.access,
                commit=target.commit,
                branch=target.branch,
            )
            if not ended.status:
                await self._done(row, target)
                return
            # A push whose answer was lost may have succeeded.
            tip = await self._tip(target, upstream)
            if tip == target.base:
                raise self._failed(target, upstream, ended)
        if tip == target.commit or await self._fetched(target, upstream):
            await self._done(row, target)
        else:
            self._conflict(row, f"{target.branch} of upstream has moved to {tip[:12] or 'nothing'}")
        self._fetch(row.project)

    async def _open(self, project: ProjectRow) -> _Upstream:
        source = sources.parse(project.source)
        access = await self._way.open(
            source,
            project.credential,
            private=project.private,
            known_hosts=self._repositories.known_hosts(project.name),
        )
        return _Upstream(source, access)

    async def _tip(self, target: _Target, upstream: _Upstream) -> str:
        ended, tip = await self._repositories.ask(
            target.project.name, upstream.source.text, upstream.access, target.branch
        )
        if ended.status:
            raise self._failed(target, upstream, ended)
        return tip

    @staticmethod
    def _failed(target: _Target, upstream: _Upstream, ended: Ended) -> Unavailable:
        return Unavailable(failures.of_push(target.project.name, upstream.source, ended))

    async def _is_there(self, target: _Target) -> bool:
        """Return whether the branch has the commit, in upstream if there is one.

        Hold the lock of the upstream meanwhile.
        """
        found = await self._is_at_tip(target)
        if found is None:
            return await self._fetched(target, await self._open(target.project))
        return found

    async def _is_at_tip(self, target: _Target) -> _There:
        """Return the same without a fetch; None: one is needed, as upstream has moved."""
        if not target.project.source:
            tip = await self._repositories.commit(target.project.name, target.branch) or ""
            return await self._has(target, tip)
        tip = await self._tip(target, await self._open(target.project))
        return tip == target.commit if tip in (target.base, target.commit) else None

    async def _fetched(self, target: _Target, upstream: _Upstream) -> bool:
        """Return whether a branch that has moved has the commit; fetch it to find that out."""
        project = target.project
        ended = await self._repositories.fetch(
            project.name,
            upstream.source.text,
            upstream.access,
            depth=project.depth,
            filter=project.filter,
            heard=lambda line: None,
        )
        if ended.status:
            raise Unavailable(failures.sentence(project.name, upstream.source, ended))
        tip = await self._repositories.commit(project.name, target.branch) or ""
        return await self._has(target, tip)

    async def _has(self, target: _Target, tip: str) -> bool:
        if not tip:
            return False
        return await self._repositories.contains(target.project.name, tip, target.commit)

    async def _done(self, row: Row, target: _Target) -> None:
        own = target.branch != row.branch
        new = ChangeState.PUBLISHED if own else ChangeState.MERGED
        message = notices.published(row, target.branch, target.commit)
        # The agent that hears of it finds it in the repository.
        reference = f"refs/heads/{target.branch}"
        await self._repositories.move(row.project, reference, target.commit, target.base)
        self.on_change(self._store.publish(row.id, new, target.commit, now(), message))
        if target.project.source:
            self._fetch(row.project)

    def _conflict(self, row: Row, why: str) -> None:
        message = notices.conflicting(row, why)
        note = f"{why[0].upper()}{why[1:]}."
        self.on_change(
            self._store.move(row.id, ChangeState.CONFLICT, now(), note=note, message=message)
        )
