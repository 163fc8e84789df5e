"""The records of projects; docs/dbus.md describes each."""

from enum import StrEnum
from typing import Final, NamedTuple

from wire.records.changes import PublishMode
from wire.records.codec import dictionary, struct
from wire.types import Bool, Int64, Str, StrList, UInt32, UInt64

MAX_HOOK: Final = 2**20
"""Bytes of the body of a webhook; one of a larger event is refused."""


class ProjectState(StrEnum):
    """The state of a project, as its row says."""

    FETCHING = "fetching"
    """A fetch from its upstream goes on, waits for its turn, or is done again after a crash."""
    READY = "ready"
    """The last fetch succeeded, or the project has no upstream."""
    FAILED = "failed"
    """The last fetch failed, or the repository is missing; the message says why."""
    REMOVING = "removing"
    """The operator has removed it, and its repository is being deleted."""


@struct
class Project(NamedTuple):
    """A repository that the hive keeps for its agents."""

    name: Str
    source: Str
    """Its upstream: a URL, or the path of a directory; empty: it has none."""
    branch: Str
    """The branch on which agents work; empty until the first fetch has found that of upstream."""
    state: ProjectState
    message: Str
    """The reason of FAILED, with the remedy; empty otherwise."""
    commit: Str
    """The full name of the last commit of the branch; empty: there is none."""
    fetched: Int64
    """The end of the last fetch that succeeded, in microseconds since 1970; 0: there was none."""
    added: Int64
    size: UInt64
    """The bytes that its repository took on the disk after the last fetch."""
    credential: Str
    """The name of the credential for upstream; empty: it needs none."""
    depth: UInt32
    """The commits of history that are fetched of each branch; 0: all."""
    filter: Str
    """The filter of a partial clone, such as blob:none; empty: everything is fetched."""
    private: Bool
    """Whether its host may be one of a private network, or this host."""
    notes: StrList
    """Sentences about parts of upstream that are not fetched."""
    how: PublishMode = PublishMode.MERGE
    """How approved changes get into their branches, unless the approval says otherwise."""


@struct
class Branch(NamedTuple):
    """A branch of a project."""

    name: Str
    commit: Str
    committed: Int64
    """The date of the commit, as its author's computer had it, in microseconds since 1970."""
    subject: Str
    """The first line of its message; untrusted text."""


@struct
class ProjectDetails(NamedTuple):
    """A project, with what its repository holds."""

    project: Project
    branches: list[Branch]
    """The branches with the newest commits, the newest first."""
    branch_count: UInt32
    """How many branches there are."""
    tag_count: UInt32
    host_keys: StrList
    """The keys of ssh by which the host was known at the first fetch, as ssh-keygen shows them."""


@dictionary()
class AddOptions(NamedTuple):
    """The options of Add."""

    branch: Str | None = None
    """The branch on which agents work; None: that of upstream, or main."""
    credential: Str | None = None
    depth: UInt32 | None = None
    filter: Str | None = None
    private: Bool = False
    how: PublishMode | None = None
    """How approved changes get into their branches; None: merge."""


@dictionary()
class SetOptions(NamedTuple):
    """The options of Set; None leaves a value as it is."""

    source: Str | None = None
    branch: Str | None = None
    credential: Str | None = None
    """The name of a credential; empty: none."""
    private: Bool | None = None
    how: PublishMode | None = None
    forget_host_keys: Bool = False
    """Whether the keys of the host are forgotten, and those of the next fetch kept."""


@dictionary()
class HookHeaders(NamedTuple):
    """The headers of a webhook that prove who has sent it; None: it has no such header.

    The name of a header is that of its field, with hyphens.
    """

    x_forgejo_signature: Str | None = None
    x_gitea_signature: Str | None = None
    x_hub_signature_256: Str | None = None
    x_gitlab_token: Str | None = None
    webhook_id: Str | None = None
    webhook_timestamp: Str | None = None
    webhook_signature: Str | None = None


@struct
class ProjectChanged(NamedTuple):
    """The arguments of the signal ProjectChanged."""

    name: Str
    state: ProjectState


@struct
class ProjectRemoved(NamedTuple):
    """The arguments of the signal ProjectRemoved."""

    name: Str


@struct
class FetchProgress(NamedTuple):
    """The arguments of the signal FetchProgress."""

    name: Str
    phase: Str
    """The words of git, such as Receiving objects."""
    done: UInt64
    total: UInt64
