"""The rules of projects: what the operator may do with them, and how the repositories follow."""

import logging
import re
import time
from collections.abc import Callable
from typing import Final, Protocol

from services.projects import sources
from services.projects.access import Gate
from services.projects.fetches import DEFAULT_BRANCH, Fetches, Listener
from services.projects.model import Row
from services.projects.repositories import Contents, Repositories
from services.projects.sources import Kind
from services.projects.store import Store
from services.tasks import Tasks
from wire import names
from wire.errors import AlreadyExists, Conflict, InvalidArgument, LimitExceeded
from wire.records.changes import PublishMode
from wire.records.projects import (
    AddOptions,
    Project,
    ProjectDetails,
    ProjectState,
    SetOptions,
)

log = logging.getLogger(__name__)

MAX_PROJECTS: Final = 200

_BRANCH: Final = re.compile(r"(?![-/])[A-Za-z0-9._/+@=,-]{1,200}(?<![/.])")
_NOT_IN_BRANCHES: Final = re.compile(r"\.\.|//|/\.|@\{|\.lock(?:/|$)")
_FILTER: Final = re.compile(r"blob:none|blob:limit=[0-9]{1,12}[kmg]?|tree:0")


def check_branch(branch: str) -> None:
    """Check that `branch` may be the name of a branch.

    Raises:
        InvalidArgument: it may not.
    """
    bad = not _BRANCH.fullmatch(branch) or _NOT_IN_BRANCHES.search(branch)
    if bad or branch.startswith("."):
        raise InvalidArgument(
            f"{branch[:60]!r} is not a valid name of a branch. Use letters, digits and "
            "- _ . / + @ = , such as main or release/2."
        )


class Agents(Protocol):
    """The agents of the hive."""

    async def having(self, project: str) -> list[str]:
        """Return the names of the agents whose agent.toml names a project.

        Raises:
            Unavailable: lifecycle cannot be asked.
        """


class Projects:
    """The projects of a hive."""

    def __init__(
        self,
        store: Store,
        repositories: Repositories,
        gate: Gate,
        fetches: Fetches,
        agents: Agents,
    ) -> None:
        self.on_removed: Callable[[str], None] = lambda name: None
        """Called with the name of each project that is gone."""
        self.on_deleted: Callable[[str], None] = lambda name: None
        """Called before that, when its row is deleted."""
        self._store = store
        self._repositories = repositories
        self._gate = gate
        self._fetches = fetches
        self._agents = agents
        self._tasks = Tasks()

    def listen(self, listener: Listener, removed: Callable[[str], None]) -> None:
        """Tell `listener` of fetches and states, and `removed` of projects that are gone."""
        self._fetches.listener = listener
        self.on_removed = removed

    async def reconcile(self) -> None:
        """Do what an earlier run left undone. Call it once, before any other method."""
        self._repositories.prepare()
        rows = self._store.all()
        for row in rows:
            if row.state is ProjectState.REMOVING:
                await self._delete(row.name)
            elif row.source:
                if not self._repositories.exists(row.name):
                    self._store.put(row._replace(state=ProjectState.FETCHING, message=""))
            else:
                await self._reconcile_own(row)
        unknown = set(self._repositories.names()) - {row.name for row in rows}
        for name in sorted(unknown):
            log.warning(
                "%s belongs to no project; it is left alone.", self._repositories.home(name).parent
            )

    async def _reconcile_own(self, row: Row) -> None:
        """Reconcile a project without upstream: its repository is the only one."""
        if row.state is ProjectState.FETCHING:
            # It was being added.
            await self._repositories.create(row.name, row.branch)
        if self._repositories.exists(row.name):
            self._store.put(row._replace(state=ProjectState.READY, message=""))
            return
        message = (
            f"Its repository {self._repositories.home(row.name)} is missing. Restore it from a "
            "backup, and restart hive-projects, or remove the project."
        )
        self._store.put(row._replace(state=ProjectState.FAILED, message=message))

    def start(self) -> None:
        """Begin the fetches that an earlier run did not end."""
        for row in self._store.all():
            if row.state is ProjectState.FETCHING:
                self._fetches.begin(row.name)

    async def close(self) -> None:
        """End what goes on; the next start does it again."""
        await self._tasks.wait()
        await self._fetches.close()

    async def add(self, name: str, source: str, options: AddOptions) -> None:
        """Add a project, and begin to fetch it.

        Args:
            name: 1 to 32 lower-case letters, digits and inner hyphens.
            source: see sources.parse; empty: a new repository of the hive's own.
            options: see AddOptions.

        Raises:
            InvalidArgument: a value is not valid, or the credential does not suit the source.
            AlreadyExists: there is a project of that name, or a directory of one.
            NotFound: there is no such credential.
            LimitExceeded: there are MAX_PROJECTS.
        """
        names.check_project_name(name)
        checked = sources.parse(source)
        self._check_options(checked.kind, options)
        if self._store.find(name):
            raise AlreadyExists(
                f"There is a project {name}. Choose another name, or remove that one: "
                f"`hivectl project remove {name}`."
            )
        if self._repositories.exists(name):
            raise AlreadyExists(
                f"The directory {self._repositories.home(name).parent} exists, and belongs to no "
                "project. Move it away, or choose another name."
            )
        if len(self._store.all()) >= MAX_PROJECTS:
            raise LimitExceeded(
                f"There are {MAX_PROJECTS} projects, and no more are kept. Remove one that is not "
                "needed: `hivectl project remove NAME`."
            )
        credential = options.credential or ""
        self._gate.check(checked, credential)
        own = checked.kind is Kind.NONE
        row = Row(
            name=name,
            source=checked.text,
            branch=options.branch or (DEFAULT_BRANCH if own else ""),
            state=ProjectState.FETCHING,
            message="",
            fetched=0,
            added=time.time_ns() // 1000,
            size=0,
            credential=credential,
            depth=options.depth or 0,
            filter=options.filter or "",
            private=options.private,
            notes=(),
            how=options.how or PublishMode.MERGE,
        )
        self._store.add(row)
        if own:
            await self._tasks.finish(self._create_own(row))
        else:
            self._fetches.begin(name)

    async def _create_own(self, row: Row) -> None:
        await self._repositories.create(row.name, row.branch)
        self._store.put(row._replace(state=ProjectState.READY))

    @staticmethod
    def _check_options(kind: Kind, options: AddOptions) -> None:
        if options.branch is not None:
            check_branch(options.branch)
        if options.filter and not _FILTER.fullmatch(options.filter):
            raise InvalidArgument(
                f"{options.filter[:40]!r} is not a valid filter: use blob:none, blob:limit=SIZE "
                "(such as blob:limit=1m) or tree:0."
            )
        if kind is Kind.NONE and (options.depth or options.filter):
            raise InvalidArgument("A project without a source has no depth and no filter.")

    async def set(self, name: str, options: SetOptions) -> None:
        """Change a project; fetch it if the way to its upstream changes.

        Raises:
            NotFound: there is no such project or credential.
            InvalidArgument: a value is not valid, or the credential does not suit the source.
            Conflict: the project is being removed, or has no such branch.
        """
        row = self._usable(name)
        source = sources.parse(row.source if options.source is None else options.source)
        credential = row.credential if options.credential is None else options.credential
        self._gate.check(source, credential)
        if (source.kind is Kind.NONE) != (not row.source):
            raise Conflict(
                f"{name} cannot change between a project with a source and one without. Add "
                "another project."
            )
        if options.branch is not None:
            await self._check_new_branch(row, options.branch)
        if options.forget_host_keys:
            self._repositories.forget_host_keys(name)
        # The row may have changed while git looked for the branch.
        row = self._usable(name)
        changed = row._replace(
            source=source.text,
            credential=credential,
            branch=options.branch or row.branch,
            private=row.private if options.private is None else options.private,
            how=options.how or row.how,
        )
        own = source.kind is Kind.NONE
        same_way = changed == row._replace(how=changed.how) and not options.forget_host_keys
        fetch = not own and not same_way
        if fetch:
            changed = changed._replace(state=ProjectState.FETCHING, message="")
        self._store.put(changed)
        if own and options.branch is not None and self._repositories.exists(name):
            await self._repositories.set_head(name, options.branch)
        self._announce(changed)
        if fetch:
            self._fetches.begin(name)

    async def _check_new_branch(self, row: Row, branch: str) -> None:
        check_branch(branch)
        contents = await self._contents(row)
        if not contents.branch_count or await self._repositories.commit(row.name, branch):
            return
        known = ", ".join(one.name for one in contents.branches[:5])
        raise Conflict(
            f"{row.name} has no branch {branch}; it has {known}. Fetch first if it is new: "
            f"`hivectl project fetch {row.name}`."
        )

    async def remove(self, name: str) -> None:
        """Delete a project with its repository, which no agent has; its fetch is ended.

        A push or a submission that goes on is waited for.

        Raises:
            NotFound: there is no such project.
            Conflict: agents have it.
            Unavailable: lifecycle cannot be asked for the agents.
        """
        self._store.get(name)
        if having := await self._agents.having(name):
            raise Conflict(
                f"{name} is in the agent.toml of {', '.join(having)}, whose container needs its "
                "repository. Take it out of `projects` there first: "
                f"`hivectl edit {having[0]}`."
            )
        row = self._store.get(name)
        if row.state is not ProjectState.REMOVING:
            self._store.put(row._replace(state=ProjectState.REMOVING, message=""))
            self._announce(row._replace(state=ProjectState.REMOVING))
        await self._tasks.finish(self._delete(name))

    async def _delete(self, name: str) -> None:
        await self._fetches.stop(name)
        # A push and a submission that go on end first.
        async with self._repositories.upstream(name), self._repositories.writing(name):
            await self._repositories.remove(name)
            self._store.delete(name)
            self.on_deleted(name)
            self.on_removed(name)

    def fetch(self, name: str) -> None:
        """Begin to fetch a project, once more if a fetch of it goes on.

        Raises:
            NotFound: there is no such project.
            Conflict: it has no upstream, or is being removed.
        """
        row = self._usable(name)
        if not row.source:
            raise Conflict(f"{name} has no upstream: it lives in this hive alone.")
        self._want(row)

    def fetch_quietly(self, name: str) -> None:
        """Begin to fetch a project whose upstream has moved, if it is still there."""
        row = self._store.find(name)
        if row and row.source and row.state is not ProjectState.REMOVING:
            self._want(row)

    def fetch_all(self) -> None:
        """Begin to fetch all projects that have an upstream and no fetch."""
        for row in self._store.all():
            if row.source and row.state in (ProjectState.READY, ProjectState.FAILED):
                self._want(row)

    async def cancel_fetch(self, name: str) -> None:
        """End the fetch of a project.

        Raises:
            NotFound: there is no such project.
            Conflict: no fetch of it goes on.
        """
        self._store.get(name)
        await self._fetches.cancel(name)

    async def list(self) -> list[Project]:
        """Return all projects, by their names."""
        return [await self._project(row) for row in self._store.all()]

    async def show(self, name: str) -> ProjectDetails:
        """Return a project with its branches and the keys of its host.

        Raises:
            NotFound: there is no such project.
        """
        row = self._store.get(name)
        contents = await self._contents(row)
        return ProjectDetails(
            await self._project(row),
            contents.branches,
            contents.branch_count,
            contents.tag_count,
            self._repositories.host_keys(name),
        )

    async def _project(self, row: Row) -> Project:
        commit = None
        if row.branch and self._repositories.exists(row.name):
            commit = await self._repositories.commit(row.name, row.branch)
        values = row._asdict() | {"commit": commit or "", "notes": list(row.notes)}
        return Project(**values)

    async def _contents(self, row: Row) -> Contents:
        if not self._repositories.exists(row.name):
            return Contents([], 0, 0)
        return await self._repositories.contents(row.name)

    def _usable(self, name: str) -> Row:
        row = self._store.get(name)
        if row.state is ProjectState.REMOVING:
            raise Conflict(f"{name} is being removed.")
        return row

    def _want(self, row: Row) -> None:
        if row.state is not ProjectState.FETCHING:
            row = row._replace(state=ProjectState.FETCHING, message="")
            self._store.put(row)
            self._announce(row)
        self._fetches.begin(row.name)

    def _announce(self, row: Row) -> None:
        if self._fetches.listener:
            self._fetches.listener.changed(row.name, row.state)
