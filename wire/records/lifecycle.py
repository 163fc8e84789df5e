"""The records of org.hyperhive.Lifecycle1, Agent1 and Job1.

Times are microseconds since 1970, 0 for never; sizes are bytes.
"""

from collections.abc import Mapping
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final, NamedTuple, cast

from wire import names
from wire.records.codec import decode, dictionary, struct
from wire.types import Bool, Int32, Int64, ObjectPath, Str, StrList, UInt32, UInt64, Value

CRASHES_IN_A_ROW_US: Final = 600_000_000
"""The microseconds after a crash in which another one counts with it."""

CRASH_LOOP: Final = 3
"""The crashes in a row after which a container is said to crash again and again."""


class AgentState(StrEnum):
    """The state of an agent's container."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    FAILED = "failed"
    PAUSED = "paused"
    SLEEPING = "sleeping"
    """Stopped, until a message or the operator needs the agent."""


class TurnState(StrEnum):
    """The state of an agent's harness."""

    OFFLINE = "offline"
    """The container does not run."""
    HARNESS_AWAY = "harness-away"
    """The container runs, but its harness is not connected."""
    NO_REPORT = "no-report"
    """The container runs, and its harness has not reported yet."""
    HELD = "held"
    """Idle, and its inbox is held."""
    IDLE = "idle"
    THINKING = "thinking"
    COMPACTING = "compacting"
    WAITING = "waiting"
    """The turn waits for an answer or a permission."""
    RATE_LIMITED = "rate-limited"
    ERROR = "error"
    NEEDS_LOGIN = "needs-login"


class CommandVerb(StrEnum):
    """The commands that a harness carries out."""

    CANCEL = "cancel"
    """Interrupt the turn."""
    COMPACT = "compact"
    NEW_SESSION = "new-session"
    KEEP_OBJECTS = "keep-objects"
    """Copy the objects that the working copies of projects borrow: the agent loses the projects."""
    RESET_PROJECT = "reset-project"
    """Make the working copy of a project clean; the work in it is kept."""
    MODEL = "model"
    EFFORT = "effort"
    HOLD_UNTIL = "hold-until"
    """Begin no turn before a time."""
    LOGIN = "login"
    """Begin a login, or go on with the one that runs."""
    LOGIN_CODE = "login-code"
    """Enter the code of a login."""
    LOGIN_CANCEL = "login-cancel"


class JobVerb(StrEnum):
    """The change that a job makes to its agent."""

    SPAWN = "spawn"
    DESTROY = "destroy"
    PURGE = "purge"
    START = "start"
    STOP = "stop"
    KILL = "kill"
    """Stop, without waiting for the processes of the container to end."""
    RESTART = "restart"
    REBUILD = "rebuild"
    UPDATE = "update"
    SLEEP = "sleep"
    DEPLOY = "deploy"


class JobState(StrEnum):
    """The state of a job that has not ended; an ended job is gone and has a JobResult."""

    WAITING = "waiting"
    RUNNING = "running"
    CANCELLING = "cancelling"


class JobResult(StrEnum):
    """The end of a job."""

    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dictionary()
class Resources(NamedTuple):
    """The limits that hold for an agent; a limit that is None does not exist."""

    memory_high: UInt64 | None = None
    memory_max: UInt64 | None = None
    cpu_weight: UInt64 | None = None
    cpu_quota: UInt64 | None = None
    """Percent of one processor."""
    tasks_max: UInt64 | None = None
    io_weight: UInt64 | None = None
    disk_max: UInt64 | None = None


@dictionary()
class ResourceChanges(NamedTuple):
    """The argument of SetResources: a number, `max` for no limit, `default` for the configuration's
    value; None leaves a limit as it is."""

    memory_high: UInt64 | Str | None = None
    memory_max: UInt64 | Str | None = None
    cpu_weight: UInt64 | Str | None = None
    cpu_quota: UInt64 | Str | None = None
    tasks_max: UInt64 | Str | None = None
    io_weight: UInt64 | Str | None = None
    disk_max: UInt64 | Str | None = None


@dictionary()
class Usage(NamedTuple):
    """The resources that a container uses now; None where the host does not count them."""

    cpu: UInt64 | None = None
    """Microseconds of processor time."""
    memory: UInt64 | None = None
    memory_peak: UInt64 | None = None
    tasks: UInt64 | None = None
    tasks_peak: UInt64 | None = None
    disk: UInt64 | None = None
    """Bytes on disk when they were last measured; also when the container does not run."""


class NetworkMode(StrEnum):
    """The network of a container."""

    GATEWAY = "gateway"
    """One of its own; the gateway leads to the model and to the names of the egress list."""
    HOST = "host"
    """The host's, filtered."""
    NONE = "none"
    """One of its own; the gateway leads to the model only."""


@dictionary()
class Network(NamedTuple):
    """The addresses that a container may not and may reach; `allow` takes precedence.

    The lists are empty for a container with a network of its own.
    """

    deny: StrList
    allow: StrList
    name_servers: StrList
    """The addresses in `deny` that the container may reach on port 53 only."""
    filtered: Bool
    """Whether the host enforces the lists."""
    mode: NetworkMode = NetworkMode.HOST
    """The network of the container."""
    next_mode: NetworkMode | None = None
    """The network of its next start, if that is another one."""
    until_deploy: Bool = False
    """Whether it has the host's network until its next deployment: an earlier version made it."""
    egress: tuple[Str, ...] = ()
    """The rules of the names and addresses that it may reach through the gateway."""
    ports: tuple[UInt32, ...] = ()
    """The ports of its loopback that the operator may reach."""


@struct
class ProjectAccess(NamedTuple):
    """A project that an agent.toml names, and the rights of the agent there."""

    project: Str
    readonly: Bool
    """Whether it hands back no changes."""
    branches: StrList
    """The branches into which its changes may go; `*` stands for any text. Empty: all."""

    def refusal(self, branch: str) -> str:
        """Return why no change of the agent may go into `branch`, for the agent; empty: it may."""
        if self.readonly:
            return (
                f"You may read the project {self.project}, and hand back no changes: its entry in "
                "your agent.toml says readonly."
            )
        if self.branches and not any(fnmatchcase(branch, one) for one in self.branches):
            return (
                f"Your changes of the project {self.project} may go into "
                f"{' or '.join(self.branches)}, and not into {branch}: its entry in your "
                "agent.toml says so."
            )
        return ""


@dictionary(properties=True)
class AgentProperties(NamedTuple):
    """The properties of Agent1; docs/dbus.md describes each."""

    name: Str
    machine: Str
    unit: Str
    uid_base: UInt32
    enabled: Bool
    state: AgentState
    since: Int64
    invocation_id: Str
    turn_state: TurnState
    turn_since: Int64
    model: Str
    context_tokens: UInt64
    logged_in: Bool
    resources: Resources
    network: Network
    image: Str
    stale: Bool
    port: UInt32
    port_shared_with: StrList
    deployed_commit: Str
    turn_reason: Str = ""
    turn_until: Int64 = 0
    activity: Str = ""
    effort: Str = ""
    context_limit: UInt64 = 0
    session: Str = ""
    credential: Str = ""
    model_setting: Str = ""
    crashes: UInt32 = 0
    last_crash: Int64 = 0
    sleep_after: UInt64 = 0
    """The seconds that it is idle before it falls asleep; 0 for never."""
    projects: tuple[ProjectAccess, ...] = ()
    """The projects that its agent.toml names."""

    def crash_loop(self, now: int) -> bool:
        """Return whether the container crashes again and again, at a time in microseconds."""
        recent = self.state is AgentState.FAILED or now - self.last_crash < CRASHES_IN_A_ROW_US
        return self.crashes >= CRASH_LOOP and recent


@dictionary(properties=True)
class JobProperties(NamedTuple):
    """The properties of Job1."""

    id: UInt32
    agent: Str
    verb: JobVerb
    state: JobState


@dictionary()
class Report(NamedTuple):
    """The report of a harness about itself; None leaves a value as it was."""

    turn_state: Str | None = None
    model: Str | None = None
    context_tokens: UInt64 | None = None
    logged_in: Bool | None = None
    reason: Str | None = None
    """Why the agent is in this turn state."""
    until: Int64 | None = None
    """When the turn state ends by itself; 0 for never."""
    activity: Str | None = None
    """The current work of the harness, such as a tool; empty for nothing."""
    effort: Str | None = None
    context_limit: UInt64 | None = None
    session: Str | None = None
    credential: Str | None = None
    """The kind of its credentials: `key`, `login`, `scripted` or `none`."""
    provider_limit_until: Int64 | None = None
    """Before this time the provider answers no request of the same credential."""
    model_setting: Str | None = None
    """The model for which the turns ask; empty for Claude Code's own choice."""
    in_turn: Bool | None = None
    """Whether a turn runs, whatever the turn state: a limit, too, may be met in a turn or between
    two."""


@dictionary()
class CancelOptions(NamedTuple):
    """The options of CancelTurn."""

    requeue: Bool = False
    """Whether the messages of the turn are queued again."""


@dictionary()
class CommandArguments(NamedTuple):
    """The arguments of a command to a harness."""

    requeue: Bool = False
    """See CancelOptions."""
    value: Str = ""
    """A model, a level of effort, a project or several with blanks between them, a time in seconds
    since 1970, or the code of a login; empty for the default."""
    login: UInt64 = 0
    """The number of a login."""
    by: Str = ""
    """The one who gave the command: `operator`, `manager` or `system`."""


@dictionary()
class CommandResult(NamedTuple):
    """The result of a command, as the harness reports it."""

    text: Str = ""
    """One sentence for the operator."""
    error: Str = ""
    """Why the command was not carried out; empty when it was."""
    login: UInt64 = 0
    """The number of the login that was begun."""
    address: Str = ""
    """The address that it names."""


@struct
class LoginPage(NamedTuple):
    """The page of a login, which the operator opens."""

    login: UInt64
    """The number of the login."""
    address: Str
    """From the container: open no address but that of a wire.text.login_pages.known_page."""


@dictionary()
class SpawnOptions(NamedTuple):
    """The options of Spawn."""

    model: Str = ""
    """Empty for the configuration's."""
    commit: Str = ""
    """The configuration to begin with; empty for the default one."""


@dictionary()
class DeployOptions(NamedTuple):
    """The options of Deploy."""

    now: Bool = False
    """Whether the deploy interrupts a running turn."""
    changes: Str = ""
    """The change in words, which the agent is told."""


@struct
class Tombstone(NamedTuple):
    """The data that is kept of a destroyed agent."""

    name: Str
    size: UInt64
    destroyed: Int64


@dictionary()
class LogFilter(NamedTuple):
    """The filter of ReadLogs. Without `agent` and `unit`, it selects the whole hive."""

    agent: Str | None = None
    """Only lines about this agent: of its container, endpoint, gateway and builds."""
    unit: Str | None = None
    """Only lines of this unit of the hive, such as `hive-broker.service`."""
    priority: UInt32 | None = None
    """Only lines of this priority or of a more urgent one: 0, an emergency, to 7, debugging."""
    text: Str = ""
    """Only lines that contain this text, in any case."""
    before: Str | None = None
    """The newest lines before the one with this cursor, instead of the newest of all."""
    after: Str | None = None
    """The oldest lines after the one with this cursor; empty for lines from now on."""
    wait: Bool = False
    """With `after`: wait up to 20 s for the next line if there is none."""


@struct
class LogEntry(NamedTuple):
    """A line of the host's journal; its texts may come from a container."""

    cursor: Str
    """Its place in the journal."""
    time: Int64
    priority: UInt32
    unit: Str
    identifier: Str
    """The name under which the program logs."""
    pid: UInt32
    message: Str


@struct
class JobNew(NamedTuple):
    """The arguments of the signal JobNew."""

    id: UInt32
    job: ObjectPath
    agent: Str
    verb: JobVerb


@struct
class JobRemoved(NamedTuple):
    """The arguments of the signal JobRemoved."""

    id: UInt32
    job: ObjectPath
    agent: Str
    verb: JobVerb
    result: JobResult
    note: Str
    """The reason of a failure; empty otherwise."""


@struct
class JobOutput(NamedTuple):
    """The arguments of the signal Output of a job."""

    lines: StrList


@struct
class CommandIssued(NamedTuple):
    """The arguments of the signal CommandIssued."""

    id: UInt64
    verb: CommandVerb
    arguments: CommandArguments


@struct
class Crashed(NamedTuple):
    """The arguments of the signal Crashed."""

    result: Str
    status: Int32


class ManagedObjects(NamedTuple):
    """The agents and jobs of lifecycle, by their object paths."""

    agents: dict[str, AgentProperties]
    jobs: dict[str, JobProperties]

    @classmethod
    def decode(cls, objects: object) -> "ManagedObjects":
        """Return the records in the answer of GetManagedObjects.

        Raises:
            Conflict: lifecycle is of another version; see `codec.decode`.
        """
        agents, jobs = {}, {}
        for path, interfaces in cast(Mapping[str, Mapping[str, Value]], objects).items():
            if names.AGENT_INTERFACE in interfaces:
                agents[path] = decode(AgentProperties, interfaces[names.AGENT_INTERFACE])
            if names.JOB_INTERFACE in interfaces:
                jobs[path] = decode(JobProperties, interfaces[names.JOB_INTERFACE])
        return cls(agents, jobs)
