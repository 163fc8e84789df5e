"""The rules of changes: what agents may submit, and how the rows and the references agree."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from services.projects.changes import members, notices
from services.projects.changes.members import Members
from services.projects.changes.model import ALIVE, WAITING, CommentRow, Row
from services.projects.changes.store import NewRevision, Store
from services.projects.changes.submissions import Submissions, Taken
from services.projects.model import Row as ProjectRow
from services.projects.repositories import Repositories
from services.projects.store import Store as ProjectStore
from services.tasks import Tasks
from wire import names
from wire.errors import AccessDenied, Conflict, HiveError, InvalidArgument, LimitExceeded, NotFound
from wire.records.changes import (
    ChangeDetails,
    ChangeFilter,
    ChangeState,
    Comment,
    CommentOptions,
    ProjectChange,
    Revision,
    SubmitOptions,
)
from wire.records.projects import ProjectState

log = logging.getLogger(__name__)

MAX_ALIVE: Final = 50
"""Changes of one agent that wait for somebody."""
MAX_PER_HOUR: Final = 60
"""Revisions that one agent may submit within an hour, refused ones included."""
MAX_PER_DAY: Final = 500 * 2**20
"""Bytes that one agent may submit within a day: the repositories keep them for ever."""
MAX_REVISIONS: Final = 100
MAX_COMMENTS: Final = 500
"""Comments of the operator on one change."""
MAX_OF_AGENT: Final = 100
"""Comments of one agent on one change."""
MAX_COMMENTS_PER_HOUR: Final = 60
"""Comments of one agent within an hour: most become messages to others."""
MAX_TITLE: Final = 200
MAX_TEXT: Final = 10_000
"""Characters of a description or a comment."""
REMOVED: Final = "The project was removed."

_HOUR: Final = 3_600_000_000
_DAY: Final = 24 * _HOUR
_MICROSECOND: Final = 1000


def now() -> int:
    """Return the time in microseconds since 1970."""
    return time.time_ns() // _MICROSECOND


class Changes:
    """The changes of all projects, as agents see them."""

    def __init__(
        self,
        store: Store,
        projects: ProjectStore,
        repositories: Repositories,
        submissions: Submissions,
        members: Members,
    ) -> None:
        self.on_change: Callable[[Row], None] = lambda row: None
        """Called after each change that is on the disk."""
        self.on_owed: Callable[[], None] = lambda: None
        """Called when a message to an agent may be owed."""
        self._store = store
        self._projects = projects
        self._repositories = repositories
        self._submissions = submissions
        self._members = members
        self._tasks = Tasks()
        self._attempts: dict[str, list[int]] = {}
        """The times of submissions that made no revision."""
        self._submitting: set[str] = set()
        self._added: dict[str, list[tuple[int, int]]] = {}
        """The times and sizes of what was taken since the start of the service."""

    async def reconcile(self) -> None:
        """Do what an earlier run left undone. Call it once, before any other method."""
        for revision in self._store.unrecorded():
            row = self._store.of_unrecorded(revision)
            try:
                pinned = await self._submissions.pinned(row.project, row.id, revision.number)
            except HiveError as error:
                # The next start looks again, when the operator has mended the repository.
                log.warning(
                    "%s of %s stays unfinished, as its repository cannot be read: %s",
                    names.change(row.id),
                    row.project,
                    error,
                )
                continue
            if pinned == revision.commit and row.state in WAITING:
                self._store.record(revision.change, revision.number, now())
            else:
                # The agent had no answer, and submits it again.
                self._store.drop(revision)
        known = {row.name for row in self._projects.all()}
        for row in self._store.alive():
            if row.project not in known:
                self._withdraw_of(row)

    async def close(self) -> None:
        """Wait for the submissions that are being recorded."""
        await self._tasks.wait()

    def project_removed(self, project: str) -> None:
        """Withdraw the changes of a project that is gone."""
        for row in self._store.alive(project):
            self._withdraw_of(row)

    def _withdraw_of(self, row: Row) -> None:
        if row.state is ChangeState.APPROVED:
            self._store.move(row.id, ChangeState.CONFLICT, now(), note=REMOVED)
        message = notices.withdrawn(row, REMOVED)
        self.announce(
            self._store.move(row.id, ChangeState.WITHDRAWN, now(), note=REMOVED, message=message)
        )

    # Agents

    async def submit(
        self,
        agent: str,
        project: str,
        commit: str,
        title: str,
        description: str,
        options: SubmitOptions,
    ) -> int:
        """Hand commits of an agent back, for a branch of a project; return the number.

        The same commit again is the same change, as long as that waits for somebody.

        Args:
            agent: the agent.
            project: a project of the agent.
            commit: the last of the commits: 7 to 40 hexadecimal digits.
            title: one line, of 1 to MAX_TITLE characters.
            description: at most MAX_TEXT characters.
            options: see SubmitOptions.

        Raises:
            AccessDenied: the agent does not have the project, or not for that branch.
            NotFound: there is no such commit, or no change that could be replaced.
            Conflict: the project has no such branch, or the commit is part of it already or has
                nothing in common with it.
            InvalidArgument: an argument or a path is not valid.
            LimitExceeded: it is too large, or the agent submits too much.
            Timeout: it takes too long.
        """
        found = await self._project(agent, project)
        branch = options.branch or found.branch
        await members.check_branch(self._members, agent, project, branch)
        _check_title(title)
        check_text("description", description)
        await self._check_target(found, branch)
        if options.replaces is not None:
            self._check_replaced(agent, project, options.replaces)
        with self._attempt(agent):
            if len(self._store.find(agent=agent, states=ALIVE)) >= MAX_ALIVE:
                raise LimitExceeded(
                    f"{MAX_ALIVE} of your changes wait already. Withdraw those that nobody needs "
                    "(`withdraw_change`), or wait for the operator."
                )
            taken = await self._take(agent, project, commit, branch)
            if there := self._same(agent, project, branch, taken.commit):
                return there
            at = now()
            row = Row(
                id=0,
                project=project,
                agent=agent,
                branch=branch,
                title=title.strip(),
                description=description.strip(),
                state=ChangeState.OPEN,
                note="",
                submitted=at,
                changed=at,
                replaces=options.replaces or 0,
            )
            number = await self._tasks.finish(self._add(row, taken))
            self._attempts[agent].pop()
            return number

    async def _take(self, agent: str, project: str, commit: str, branch: str) -> Taken:
        taken = await self._submissions.take(project, agent, commit, branch)
        self._added.setdefault(agent, []).append((now(), taken.size))
        return taken

    async def _add(self, row: Row, taken: Taken) -> int:
        number = self._store.add(row, _revision(taken, ""))
        await self._record(row.project, number, 1, taken)
        return number

    async def update(self, agent: str, number: int, commit: str, note: str) -> int:
        """Submit another revision of a change; return its number. The change is open then.

        Args:
            agent: the agent that submitted the change.
            number: the change.
            commit: as for `submit`.
            note: what is new in the revision, at most MAX_TEXT characters; may be empty.

        Raises:
            As `submit`; and Conflict: the change takes no revision any more, or has that commit.
        """
        row = await self._own(agent, number)
        _check_waiting(row)
        check_text("note", note)
        await members.check_branch(self._members, agent, row.project, row.branch)
        found = await self._project(agent, row.project)
        await self._check_target(found, row.branch)
        with self._attempt(agent):
            revisions = self._store.revisions(number)
            if len(revisions) >= MAX_REVISIONS:
                raise LimitExceeded(
                    f"{names.change(number)} has {MAX_REVISIONS} revisions, which is the maximum. "
                    f"Submit another change that replaces it."
                )
            taken = await self._take(agent, row.project, commit, row.branch)
            _check_waiting(self._store.get(number))
            if taken.commit == self._store.revision(number).commit:
                raise Conflict(
                    f"The commit {taken.commit[:12]} is the newest revision of "
                    f"{names.change(number)} already. Commit what is new, and submit that."
                )
            added = await self._tasks.finish(self._add_revision(row, taken, note.strip()))
            self._attempts[agent].pop()
            return added

    async def _add_revision(self, row: Row, taken: Taken, note: str) -> int:
        revision = self._store.add_revision(row.id, _revision(taken, note))
        await self._record(row.project, row.id, revision, taken)
        return revision

    async def _record(self, project: str, number: int, revision: int, taken: Taken) -> None:
        try:
            await self._submissions.pin(project, number, revision, taken.commit)
            superseded = self._store.record(number, revision, now())
        except HiveError:
            [unfinished] = [
                one
                for one in self._store.unrecorded()
                if (one.change, one.number) == (number, revision)
            ]
            self._store.drop(unfinished)
            raise
        if superseded:
            self.announce(superseded)
        self.announce(self._store.get(number))

    async def withdraw(self, agent: str, number: int) -> None:
        """Take a change back.

        Raises:
            NotFound: there is no such change of a project of the agent.
            AccessDenied: another agent submitted it.
            Conflict: it is approved, or its state is final.
        """
        row = await self._own(agent, number)
        _check_waiting(row)
        self.announce(self._store.move(number, ChangeState.WITHDRAWN, now()))

    async def comment(self, who: str, number: int, text: str, options: CommentOptions) -> None:
        """Comment on a change; its agent gets a message, unless it is the author.

        Args:
            who: an agent that has the project, or the operator.
            number: the change.
            text: 1 to MAX_TEXT characters.
            options: see CommentOptions.

        Raises:
            NotFound: there is no such change, or no such revision.
            InvalidArgument: the text is empty or too long, or the path has several lines.
            LimitExceeded: there are too many of this author.
        """
        row = await self.visible(who, number)
        check_text("comment", text, at_least=1)
        revision = self._store.revision(number, options.revision)
        check_place(options.path)
        check_count(self._store.comments(number), number, who, 1)
        since = now() - _HOUR
        if (
            who != names.OPERATOR
            and self._store.count_comments(who, since) >= MAX_COMMENTS_PER_HOUR
        ):
            raise LimitExceeded(
                f"You have made {MAX_COMMENTS_PER_HOUR} comments within an hour, which is the "
                "maximum. Put several into one."
            )
        comment = CommentRow(
            number, who, now(), revision.number, options.path, options.line, text.strip()
        )
        message = "" if who == row.agent else notices.commented(row, comment)
        self._store.comment(comment, message)
        self.announce(row)

    # Reading

    async def list(self, who: str, wanted: ChangeFilter) -> list[ProjectChange]:
        """Return the newest changes that match, oldest first: an agent sees those of its projects.

        Args:
            who: an agent, or the operator.
            wanted: see ChangeFilter.
        """
        rows = self._store.find(
            project=wanted.project,
            agent=wanted.agent,
            states=_states(wanted),
            limit=-1 if who != names.OPERATOR else wanted.limit,
        )
        if who != names.OPERATOR:
            known = await self._members.grants(who)
            rows = [row for row in rows if row.project in known][-wanted.limit :]
        return [self._shown(row) for row in rows]

    async def get(self, who: str, number: int) -> ChangeDetails:
        """Return a change with its revisions and comments.

        Raises:
            NotFound: there is no such change, or not in a project of the agent.
        """
        row = await self.visible(who, number)
        revisions = [
            Revision(one.number, one.commit, one.base, one.submitted, one.note, [*one.findings])
            for one in self._store.revisions(number)
        ]
        comments = [
            Comment(one.author, one.at, one.revision, one.path, one.line, one.text)
            for one in self._store.comments(number)
        ]
        return ChangeDetails(self._shown(row), revisions, comments)

    async def visible(self, who: str, number: int) -> Row:
        """Return a change that `who` may see.

        Raises:
            NotFound: there is no such change, or not in a project of the agent.
        """
        row = self._store.get(number)
        if who != names.OPERATOR and row.project not in await self._members.grants(who):
            raise NotFound(
                f"There is no change {names.change(number)} in your projects; `list_changes` shows "
                "them."
            )
        return row

    # Checks

    async def _own(self, agent: str, number: int) -> Row:
        row = await self.visible(agent, number)
        if row.agent != agent:
            raise AccessDenied(
                f"{names.change(number)} is a change of {row.agent}; only {row.agent} can update "
                "or withdraw it. You may comment on it (`comment_on_change`)."
            )
        return row

    async def _project(self, agent: str, project: str) -> ProjectRow:
        await members.check(self._members, agent, project)
        row = self._projects.find(project)
        if row is None or row.state is ProjectState.REMOVING:
            raise Conflict(f"The project {project} is not there any more.")
        if not row.branch or not self._repositories.exists(project):
            raise Conflict(
                f"{project} has not been fetched yet. The operator sees why: `hivectl project show "
                f"{project}`."
            )
        return row

    async def _check_target(self, project: ProjectRow, branch: str) -> None:
        """Check that a change may be for a branch: it exists, or is the first one."""
        name = project.name
        if await self._repositories.commit(name, branch) is not None:
            return
        contents = await self._repositories.contents(name)
        if branch == project.branch and not contents.branch_count:
            return
        known = ", ".join(one.name for one in contents.branches[:5]) or project.branch
        raise Conflict(f"{name} has no branch {branch[:100]!r}; it has {known}.")

    def _check_replaced(self, agent: str, project: str, number: int) -> None:
        row = self._store.get(number)
        if (row.agent, row.project) != (agent, project):
            raise InvalidArgument(
                f"{names.change(number)} is not a change of yours in {project}, so you cannot "
                "replace it."
            )
        _check_waiting(row)

    def _same(self, agent: str, project: str, branch: str, commit: str) -> int | None:
        """Return the number of a change that waits and has the same commit."""
        for row in self._store.find(project=project, agent=agent, states=ALIVE):
            if row.branch == branch and self._store.revision(row.id).commit == commit:
                return row.id
        return None

    @contextmanager
    def _attempt(self, agent: str) -> Iterator[None]:
        """Count an attempt to submit something, and let there be one at a time.

        One that makes no revision costs as much: it stays in `_attempts`.

        Raises:
            Conflict: another one is going on.
            LimitExceeded: there were too many within an hour, or too large ones within a day.
        """
        if agent in self._submitting:
            raise Conflict(
                "Another submission of yours is being examined. Submit again when that has an "
                "answer."
            )
        since = now() - _HOUR
        attempts = [at for at in self._attempts.get(agent, []) if at >= since]
        count = self._store.count_submitted(agent, since) + len(attempts)
        if count >= MAX_PER_HOUR:
            raise LimitExceeded(
                f"You have submitted {count} times within an hour, which is the maximum. Go on "
                "with something else, and submit later."
            )
        self._added[agent] = [one for one in self._added.get(agent, []) if one[0] >= now() - _DAY]
        if sum(size for _, size in self._added[agent]) >= MAX_PER_DAY:
            raise LimitExceeded(
                f"You have submitted more than {MAX_PER_DAY // 2**20} MiB within a day, which is "
                "the maximum. Keep large files out of commits, and submit tomorrow."
            )
        self._attempts[agent] = [*attempts, now()]
        self._submitting.add(agent)
        try:
            yield
        finally:
            self._submitting.remove(agent)

    def _shown(self, row: Row) -> ProjectChange:
        newest = self._store.revision(row.id)
        values = row._asdict()
        del values["replaces"]
        return ProjectChange(**values, revision=newest.number, commit=newest.commit)

    def announce(self, row: Row) -> None:
        """Tell that a change is different now."""
        log.info(
            "change %s of %s is %s",
            names.change(row.id),
            row.project,
            row.state,
            extra={"HIVE_AGENT": row.agent},
        )
        self.on_change(row)
        self.on_owed()


def _revision(taken: Taken, note: str) -> NewRevision:
    return NewRevision(taken.commit, taken.base, now(), note, taken.findings)


def _check_waiting(row: Row) -> None:
    if row.state not in WAITING:
        raise Conflict(
            f"{names.change(row.id)} is {row.state}, and cannot be changed any more. Submit "
            "another change."
        )


def _check_title(title: str) -> None:
    if not 1 <= len(title.strip()) <= MAX_TITLE or not title.strip().isprintable():
        raise InvalidArgument(
            f"The title of a change is one line of 1 to {MAX_TITLE} printable characters. Say more "
            "in the description."
        )


def check_text(what: str, text: str, *, at_least: int = 0) -> None:
    """Check the length of a text.

    Raises:
        InvalidArgument: it is longer than MAX_TEXT, or blank where `at_least` is 1.
    """
    if not at_least <= len(text.strip()) or len(text) > MAX_TEXT:
        raise InvalidArgument(
            f"The {what} has {len(text)} characters; it must have {at_least} to {MAX_TEXT}."
        )


def check_place(path: str) -> None:
    """Check that a path is one line: it stands in messages.

    Raises:
        InvalidArgument: it is not.
    """
    if len(path.splitlines()) > 1 or path.endswith("\n"):
        raise InvalidArgument("The path of a comment is one line: name one file of the change.")


def check_count(comments: Sequence[CommentRow], number: int, who: str, more: int) -> None:
    """Check that there is room for comments; what others have written takes none.

    Args:
        comments: those of the change.
        number: the change.
        who: the author.
        more: the number of new comments.

    Raises:
        LimitExceeded: there is none.
    """
    most = MAX_COMMENTS if who == names.OPERATOR else MAX_OF_AGENT
    if sum(one.author == who for one in comments) + more > most:
        raise LimitExceeded(
            f"{names.change(number)} would have more than {most} comments of yours, which is the "
            "maximum."
        )


def _states(wanted: ChangeFilter) -> frozenset[ChangeState] | None:
    if wanted.state is not None:
        return frozenset({wanted.state})
    return None if wanted.closed else ALIVE
