"""The rules of the operator's review: an approval is of the commit on the base that were shown."""

from collections.abc import Callable, Sequence

from services.projects.changes import bundles, merges, notices
from services.projects.changes.changes import check_count, check_place, check_text, now
from services.projects.changes.model import WAITING, Approval, CommentRow, Row
from services.projects.changes.publishing import Publishing
from services.projects.changes.store import Store
from services.projects.repositories import Repositories
from services.projects.store import Store as ProjectStore
from wire import names
from wire.errors import Conflict
from wire.records.changes import ApproveChangeOptions, ChangeState, LineComment


class Review:
    """The decisions about changes."""

    def __init__(
        self,
        store: Store,
        projects: ProjectStore,
        repositories: Repositories,
        publishing: Publishing,
    ) -> None:
        self.on_change: Callable[[Row], None] = lambda row: None
        """Called after each change that is on the disk."""
        self._store = store
        self._projects = projects
        self._repositories = repositories
        self._publishing = publishing

    async def bundle(self, number: int, revision: int | None) -> bytes:
        """Return the commits of a revision as a bundle of git; None: the newest one.

        Raises:
            NotFound: there is no such change or revision, or its commits are lost.
            LimitExceeded: they are too large.
        """
        row, found = self._store.get(number), self._store.revision(number, revision)
        return await bundles.bundle(self._repositories, row, found)

    async def approve(
        self,
        who: str,
        number: int,
        commit: str,
        base: str,
        options: ApproveChangeOptions,
    ) -> None:
        """Approve a change, and begin to publish it. An approved one is tried again.

        Args:
            who: the approver.
            number: the change.
            commit: the commit of the newest revision, as it was shown.
            base: the commit of the branch, as it was shown; empty: it had none.
            options: see ApproveChangeOptions.

        Raises:
            NotFound: there is no such change.
            Conflict: it has another commit, the branch has moved, its state does not allow it, or
                it has merges and is to be rebased.
        """
        row = self._store.get(number)
        revision = self._store.revision(number)
        self._check_shown(row, commit)
        if row.state is ChangeState.APPROVED:
            self._publishing.begin(number)
            return
        how = options.how or self._projects.get(row.project).how
        await merges.check(self._repositories.home(row.project), row, revision, how)
        tip = await self._repositories.commit(row.project, row.branch) or ""
        if tip != base:
            raise Conflict(
                f"{row.branch} of {row.project} is {tip[:12] or 'empty'} now, and not the base "
                f"{base[:12] or 'without a commit'} that was shown. Look at the change again: "
                f"`hivectl diff {names.change(number)}`."
            )
        # Nothing is awaited from here on: the newest revision is still the one that was shown.
        self._check_shown(self._store.get(number), commit)
        approval = Approval(number, revision.number, base, how, who, now())
        self.on_change(self._store.approve(approval))
        self._publishing.begin(number)

    def request_changes(
        self, who: str, number: int, commit: str, note: str, comments: Sequence[LineComment]
    ) -> None:
        """Give an open change back to its agent, with all comments in one message.

        Args:
            who: the author of the comments.
            number: the change.
            commit: the commit of the newest revision, as it was shown.
            note: what is wanted, at most MAX_TEXT characters.
            comments: comments on files and lines; there must be a note or a comment.

        Raises:
            NotFound: there is no such change.
            Conflict: it is not open, or has another commit.
            InvalidArgument: a text is empty or too long.
            LimitExceeded: there are too many comments.
        """
        row = self._store.get(number)
        self._check_shown(row, commit)
        check_text("note", note, at_least=0 if comments else 1)
        check_count(self._store.comments(number), number, who, len(comments) + 1)
        revision, at = self._store.revision(number).number, now()
        rows = []
        for comment in comments:
            check_text("comment", comment.text, at_least=1)
            check_place(comment.path)
            rows.append(
                CommentRow(
                    number, who, at, revision, comment.path, comment.line, comment.text.strip()
                )
            )
        message = notices.requested(row, note.strip(), rows)
        if note.strip():
            rows.insert(0, CommentRow(number, who, at, revision, "", 0, note.strip()))
        self.on_change(
            self._store.move(
                number, ChangeState.CHANGES_REQUESTED, at, comments=rows, message=message
            )
        )

    async def deny(self, number: int, commit: str, note: str) -> None:
        """Deny a change, also an approved one that its branch has not got.

        Args:
            number: the change.
            commit: the commit of the newest revision, as it was shown.
            note: the reason, for the agent, at most MAX_TEXT characters.

        Raises:
            NotFound: there is no such change.
            Conflict: it has another commit, or its state is final.
            InvalidArgument: the note is too long.
            Unavailable: upstream cannot be asked whether it has the approved change.
        """
        row = self._store.get(number)
        self._check_shown(row, commit)
        check_text("note", note)

        def deny() -> None:
            # It may have got another revision while upstream was asked.
            self._check_shown(self._store.get(number), commit)
            message = notices.denied(row, note.strip())
            self.on_change(
                self._store.move(
                    number, ChangeState.DENIED, now(), note=note.strip(), message=message
                )
            )

        if row.state is ChangeState.APPROVED:
            await self._publishing.revoke(number, deny)
        else:
            deny()

    def _check_shown(self, row: Row, commit: str) -> None:
        newest = self._store.revision(row.id)
        if newest.commit != commit:
            raise Conflict(
                f"{names.change(row.id)} is at revision {newest.number}, commit "
                f"{newest.commit[:12]}, and not at {commit[:12]!r}. Look at it again: "
                f"`hivectl diff {names.change(row.id)}`."
            )
        if row.state not in (*WAITING, ChangeState.APPROVED):
            raise Conflict(f"{names.change(row.id)} is {row.state}, which is final.")
