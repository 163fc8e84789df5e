"""The rows of projects and changes. Their keys are the pages' contract."""

from typing import Final

from services.dashboard.state import shown
from services.dashboard.state.tables import Json, Row
from wire.records.changes import (
    ChangeCommit,
    ChangeDetails,
    ChangedFile,
    ChangeDiff,
    Comment,
    ProjectChange,
    Revision,
)
from wire.records.projects import Branch, FetchProgress, Project, ProjectDetails
from wire.text.escaping import literal

MAX_TEXT: Final = 2**18
"""Characters of the comments and notes of a change in one answer, the newest first; of the others,
there is the beginning. Texts full of characters that are spelled out take seconds."""
BEGINNING: Final = 200


class _Room:
    """The room for texts in an answer."""

    def __init__(self) -> None:
        self._left = MAX_TEXT

    def take(self, text: str) -> str:
        """Return a text, or its beginning if there is no room for all of it."""
        kept = text if len(text) <= self._left else text[:BEGINNING]
        self._left -= min(len(kept), self._left)
        return kept


def project_row(project: Project) -> Row:
    """Return the row of a project, without the progress of a fetch."""
    return {
        **project._asdict(),
        "source": literal(project.source),
        "branch": literal(project.branch),
        "message": shown.message(project.message),
        "notes": shown.messages(project.notes),
        "progress": None,
    }


def progress_row(progress: FetchProgress) -> Row:
    """Return the progress of a fetch, for the row of its project."""
    return {"phase": literal(progress.phase), "done": progress.done, "total": progress.total}


def project_details(details: ProjectDetails) -> Row:
    """Return the branches of a project, and the keys of its host."""
    return {
        "branches": [_branch(one) for one in details.branches],
        "branch_count": details.branch_count,
        "tag_count": details.tag_count,
        "host_keys": shown.messages(details.host_keys),
    }


def _branch(branch: Branch) -> Row:
    return {
        **branch._asdict(),
        "name": literal(branch.name),
        "subject": shown.message(branch.subject),
    }


def change_row(change: ProjectChange) -> dict[str, Json]:
    """Return the row of a change, without its description."""
    row = {
        **change._asdict(),
        "branch": literal(change.branch),
        "title": shown.message(change.title),
        "note": shown.message(change.note),
    }
    del row["description"]
    return row


def change_details(details: ChangeDetails) -> Row:
    """Return a change with its description, revisions and comments; see MAX_TEXT."""
    change, room = details.change, _Room()
    comments = [_comment(one, room) for one in reversed(details.comments)]
    revisions = [_revision(one, room) for one in reversed(details.revisions)]
    return {
        "change": {**change_row(change), "description": shown.message(change.description)},
        "revisions": revisions[::-1],
        "comments": comments[::-1],
    }


def _revision(revision: Revision, room: _Room) -> Row:
    return {
        **revision._asdict(),
        "note": shown.message(room.take(revision.note)),
        "length": len(revision.note),
        "findings": [shown.exactly(one) for one in revision.findings],
    }


def _comment(comment: Comment, room: _Room) -> Row:
    return {
        **comment._asdict(),
        "path": shown.exactly(comment.path),
        "text": shown.message(room.take(comment.text)),
        "length": len(comment.text),
    }


def change_diff(diff: ChangeDiff) -> Row:
    """Return the lines, files and commits of a change, and the files that do not merge."""
    return {
        **diff._asdict(),
        "diff": shown.lines(diff.diff),
        "files": [_file(one) for one in diff.files],
        "commits": [_commit(one) for one in diff.commits],
        "conflicts": [shown.exactly(one) for one in diff.conflicts],
    }


def _file(file: ChangedFile) -> Row:
    return {
        **file._asdict(),
        "path": shown.exactly(file.path),
        "old_path": shown.exactly(file.old_path),
    }


def _commit(commit: ChangeCommit) -> Row:
    return {
        **commit._asdict(),
        "author": shown.message(commit.author),
        "subject": shown.message(commit.subject),
    }
