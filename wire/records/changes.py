"""The records of org.hyperhive.Changes1. Times are microseconds since 1970, 0 for never.

Titles, descriptions, comments, paths, subjects and diffs are text of agents: untrusted. A path that
is not UTF-8 has its other bytes spelled out, as in `caf\\xe9`.
"""

from enum import StrEnum
from typing import NamedTuple

from wire.records.codec import dictionary, struct
from wire.types import Bool, Int64, Str, StrList, UInt32, UInt64


class ChangeState(StrEnum):
    """The place of a change on its way to upstream."""

    OPEN = "open"
    """It waits for the operator."""
    CHANGES_REQUESTED = "changes-requested"
    """The operator wants something else; it waits for its agent."""
    APPROVED = "approved"
    """The operator has approved it, and it is on its way into its branch."""
    CONFLICT = "conflict"
    """It does not merge, or upstream refused the push; it waits for its agent."""
    MERGED = "merged"
    """Its branch has it."""
    PUBLISHED = "published"
    """It has a branch of its own."""
    DENIED = "denied"
    """The operator does not want it; the note may say why."""
    WITHDRAWN = "withdrawn"
    """Its agent took it back, or its project is gone."""
    SUPERSEDED = "superseded"
    """Its agent has replaced it by another change."""


class PublishMode(StrEnum):
    """How an approved change gets into its branch."""

    MERGE = "merge"
    """With a merge commit, and all commits of the agent below it."""
    SQUASH = "squash"
    """As one commit."""
    REBASE = "rebase"
    """As its commits, again, on top of the branch."""
    BRANCH = "branch"
    """As its commits in a branch of their own, such as hive/c12, for a pull request."""


@struct
class ProjectChange(NamedTuple):
    """Commits of an agent, for a branch of a project."""

    id: UInt64
    project: Str
    agent: Str
    branch: Str
    """The branch that it is for."""
    title: Str
    description: Str
    state: ChangeState
    note: Str
    """A sentence about the state, such as the operator's reason; may be empty."""
    revision: UInt32
    """The number of its newest revision, from 1."""
    commit: Str
    """The full name of the last commit of that revision."""
    submitted: Int64
    changed: Int64
    """The time of its last revision or change of state."""
    published: Str
    """The full name of the commit that the branch has got for it; empty: none yet."""


@struct
class Revision(NamedTuple):
    """A state of a change that its agent has submitted."""

    number: UInt32
    commit: Str
    base: Str
    """The commit from which it branches off; empty: the project had none."""
    submitted: Int64
    note: Str
    """A text of its agent about it; may be empty."""
    findings: StrList
    """Sentences about files that deserve a look."""


@struct
class Comment(NamedTuple):
    """A comment on a change."""

    author: Str
    """An agent, or `operator`."""
    at: Int64
    revision: UInt32
    path: Str
    """The file that it is about; empty: the whole change."""
    line: UInt32
    """The line of the file as the revision has it; 0: the whole file."""
    text: Str


@struct
class ChangeDetails(NamedTuple):
    """A change, with its revisions and comments, oldest first."""

    change: ProjectChange
    revisions: list[Revision]
    comments: list[Comment]


@struct
class ChangeCommit(NamedTuple):
    """A commit of a change."""

    commit: Str
    author: Str
    at: Int64
    """The date that its author claims."""
    subject: Str


@struct
class ChangedFile(NamedTuple):
    """A file that differs between two commits."""

    path: Str
    old_path: Str
    """The path before a rename; otherwise as `path`."""
    status: Str
    """The letter of git: A added, D deleted, M modified, R renamed, T another type."""
    old_mode: Str
    """The mode in git, such as 100644; 000000: there was no file."""
    new_mode: Str
    binary: Bool
    added: UInt32
    """Lines; 0 of a binary file."""
    removed: UInt32
    old_size: UInt64
    """Bytes; 0 of a submodule."""
    new_size: UInt64


@struct
class ChangeDiff(NamedTuple):
    """The part of a change that the operator reviews."""

    revision: UInt32
    commit: Str
    base: Str
    """The commit of the branch now, which an approval names; empty: the branch has none."""
    merge_base: Str
    """The commit with which the diff begins; empty: everything is added. If a change and its branch
    went apart in several places, that is the branch, and the diff ends with the merge."""
    diff: Str
    """A unified diff. The one between two revisions begins with the earlier one as it would be on
    the base of the later one, with marks where that conflicts."""
    cut: Bool
    """Whether the diff is too long, and ends early."""
    files: list[ChangedFile]
    commits: list[ChangeCommit]
    """Those of the revision, oldest first."""
    conflicts: StrList
    """The files that do not merge into the branch now; empty: the change merges."""
    more_files: UInt32
    """Files that are changed too, and are not in `files`; if git lists very many, at least that
    many."""


@dictionary()
class SubmitOptions(NamedTuple):
    """The options of Submit."""

    branch: Str | None = None
    """The branch that the change is for; None: that of the project."""
    replaces: UInt64 | None = None
    """A change of the same agent and project that is superseded."""


@dictionary()
class ChangeFilter(NamedTuple):
    """The filter of List; a key that is absent does not restrict anything."""

    project: Str | None = None
    agent: Str | None = None
    state: ChangeState | None = None
    closed: Bool = False
    """Whether changes are included that nobody waits for any more."""
    limit: UInt32 = 200
    """The newest so many."""


@dictionary()
class ChangeDiffOptions(NamedTuple):
    """The options of Diff."""

    revision: UInt32 | None = None
    """None: the newest."""
    since: UInt32 | None = None
    """An earlier revision: return the difference between the two revisions."""
    commit: Str | None = None
    """Return only what this commit of the revision changes."""
    path: Str | None = None
    """Return only the diff of this file."""
    context: UInt32 | None = None
    """Lines around each change; None: 3."""
    functions: Bool = False
    """Whether whole functions are shown around changes."""


@dictionary()
class CommentOptions(NamedTuple):
    """The options of Comment."""

    revision: UInt32 | None = None
    """None: the newest."""
    path: Str = ""
    line: UInt32 = 0


@struct
class ChangeChanged(NamedTuple):
    """The arguments of the signal ChangeChanged."""

    id: UInt64
    project: Str
    agent: Str
    state: ChangeState


@struct
class LineComment(NamedTuple):
    """A comment of the operator's, sent together with others."""

    path: Str
    """Empty: the whole change."""
    line: UInt32
    """0: the whole file."""
    text: Str


@dictionary()
class ApproveChangeOptions(NamedTuple):
    """The options of Approve."""

    how: PublishMode | None = None
    """None: as the project says."""
