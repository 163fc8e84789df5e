"""The records of org.hyperhive.Approvals1. Times are microseconds since 1970, 0 for never."""

from enum import StrEnum
from typing import Final, NamedTuple

from wire.records.codec import dictionary, struct
from wire.types import Bool, Int64, ObjectPath, Str, StrList, UInt32, UInt64


class ApprovalState(StrEnum):
    """The place of a request on its way."""

    PENDING = "pending"
    """It waits for the operator."""
    APPROVED = "approved"
    """The operator has approved it; it begins as soon as lifecycle can be asked."""
    BUILDING = "building"
    """Lifecycle carries it out, or is asked to."""
    DEPLOYED = "deployed"
    FAILED = "failed"
    """Lifecycle could not carry it out; the note says why."""
    DENIED = "denied"
    """The operator has denied it; the note may say why."""
    SUPERSEDED = "superseded"
    """A newer request replaced it, or it no longer fits to what is deployed."""
    WITHDRAWN = "withdrawn"
    """Its requester took it back, or its agent is gone."""


class ApprovalKind(StrEnum):
    """The kind of change that is requested."""

    SPAWN = "spawn"
    """A new agent, with its first configuration."""
    APPLY = "apply"
    """Another configuration for an agent."""
    REVERT = "revert"
    """Another configuration that does not follow from the deployed one."""


class DiffBase(StrEnum):
    """The configuration that a request is compared with."""

    DEPLOYED = "deployed"
    """The deployed one: the change that an approval makes."""
    APPROVED = "approved"
    """That of the newest earlier request of the agent that the operator approved."""
    PREVIOUS = "previous"
    """That of the request of the agent before it, whatever became of that one."""


@struct
class Approval(NamedTuple):
    """A request that waits, or waited, for the operator."""

    id: UInt64
    kind: ApprovalKind
    agent: Str
    commit: Str
    """The full name of the commit; empty for requests of a version that had no commits."""
    reason: Str
    requested_by: Str
    requested: Int64
    state: ApprovalState
    note: Str
    resolved: Int64
    """The time of the latest change of state; 0 while the request is pending."""


@struct
class Deploy(NamedTuple):
    """A configuration that was deployed."""

    at: Int64
    agent: Str
    commit: Str
    approval: UInt64
    """The number of the request; 0 for an agent's first configuration."""
    requested_by: Str
    description: Str
    kept: Bool = True
    """Whether its configuration is kept: a purge of the agent deletes the agent's configurations,
    but not the log."""

    @property
    def tag(self) -> str:
        """The tag of the commit in the agent's repository."""
        return f"deployed/{self.approval}"


@dictionary()
class SpawnRequestOptions(NamedTuple):
    """The options of RequestSpawn."""

    config: Str | None = None
    """The text of the agent.toml to begin with."""


@dictionary()
class ApplyRequestOptions(NamedTuple):
    """The options of RequestApply."""

    revert: Bool = False
    """Whether the commit need not follow from the deployed one."""


@dictionary()
class ApprovalOptions(NamedTuple):
    """The options of Approve and ApproveNow."""

    base: Str | None = None
    """The base of the change that was shown; None: no change was shown."""


NO_JOB: Final = "/"
"""The path that stands for no job."""


@struct
class Allowed(NamedTuple):
    """The outcome of AllowTool, AllowEgress and Configure."""

    request: UInt64
    """The request that makes the change."""
    job: ObjectPath
    """The job that deploys it; NO_JOB while another request is in progress: then the request waits
    for an approval, or it includes the rule already. With Configure: the job is not ordered yet."""


@struct
class Change(NamedTuple):
    """The change that a request makes."""

    diff: Str
    """The settings that change, if any, and an empty line; then a unified diff."""
    base: Str
    """The full name of the commit that it starts from; empty: nothing was deployed."""


@struct
class Comparison(NamedTuple):
    """A request compared with another configuration."""

    diff: Str
    """As in a Change."""
    base: Str
    """The full name of the commit that it starts from; empty: there is none."""
    deployed: Str
    """The base that Approve takes: the base of the Change that the request makes."""


@struct
class ConfigFile(NamedTuple):
    """A file of an agent's deployed configuration."""

    text: Str
    commit: Str
    """The full name of the deployed commit."""
    files: StrList
    """The paths of all files of the commit."""


@dictionary()
class ConfigureOptions(NamedTuple):
    """The options of Configure."""

    reason: Str = ""
    """The reason, which the log of deploys shows; empty for a sentence that names the file."""
    now: Bool = False
    """Whether the deploy does not wait for the end of the agent's turn."""


@dictionary()
class ApprovalFilter(NamedTuple):
    """The filter of List."""

    id: UInt64 | None = None
    before: UInt64 | None = None
    """Only requests with a smaller number."""
    state: ApprovalState | None = None
    agent: Str | None = None
    limit: UInt32 | None = None


@struct
class ApprovalAdded(NamedTuple):
    """The arguments of the signal ApprovalAdded."""

    agent: Str
    id: UInt64
    kind: ApprovalKind


@struct
class ApprovalResolved(NamedTuple):
    """The arguments of the signal ApprovalResolved."""

    agent: Str
    id: UInt64
    state: ApprovalState
