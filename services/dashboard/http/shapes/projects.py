"""The shapes of answers about projects and changes."""

from services.dashboard.http.shapes.rows import ChangeRow
from services.dashboard.http.shapes.shape import Shape, Text


class BranchRow(Shape):
    """A branch of a project; the time is the date of its commit, in microseconds since 1970."""

    name: str
    commit: str
    committed: int
    subject: Text


class ProjectDetails(Shape):
    """The branches of a project with the newest commits, and the numbers of all of them."""

    branches: list[BranchRow]
    branch_count: int
    tag_count: int
    host_keys: list[Text]


class Changes(Shape):
    """Changes, newest first."""

    changes: list[ChangeRow]
    more: bool


class WholeChange(ChangeRow):
    """A change with its description."""

    description: Text


class RevisionRow(Shape):
    """A revision of a change; findings are sentences about files that deserve a look.

    The note may be the beginning of one of `length` characters.
    """

    number: int
    commit: str
    base: str
    submitted: int
    note: Text
    length: int
    findings: list[Text]


class CommentRow(Shape):
    """A comment; without a path it is about the whole change, at line 0 about the whole file.

    The text may be the beginning of one of `length` characters.
    """

    author: str
    at: int
    revision: int
    path: Text
    line: int
    text: Text
    length: int


class ChangeDetails(Shape):
    """A change with its revisions and comments, oldest first."""

    change: WholeChange
    revisions: list[RevisionRow]
    comments: list[CommentRow]


class FileRow(Shape):
    """A file that a change changes; `status` is the letter of git, modes are those of git."""

    path: Text
    old_path: Text
    status: str
    old_mode: str
    new_mode: str
    binary: bool
    added: int
    removed: int
    old_size: int
    new_size: int


class CommitRow(Shape):
    """A commit of a change, with the date that its author claims."""

    commit: str
    author: Text
    at: int
    subject: Text


class ChangeDiff(Shape):
    """The part of a change that is reviewed; an approval takes its commit and base."""

    revision: int
    commit: str
    base: str
    merge_base: str
    diff: list[Text]
    cut: bool
    files: list[FileRow]
    commits: list[CommitRow]
    conflicts: list[Text]
    more_files: int
