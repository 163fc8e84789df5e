"""One agent: its states, the status of its container and the reports of its harness."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from services.lifecycle.agents.crashes import Crashes
from services.lifecycle.agents.start import Start
from services.lifecycle.agents.turn import (
    MAX_ACTIVITY,
    MAX_EFFORT,
    MAX_SESSION,
    UNKNOWN,
    Hold,
    Turn,
    TurnRecord,
    one_line,
)
from wire import names
from wire.errors import InvalidArgument
from wire.records.lifecycle import AgentState, NetworkMode, Report, TurnState
from wire.steering import DEFAULT, EFFORTS

STATES: Final[Mapping[str, AgentState]] = {
    "inactive": AgentState.STOPPED,
    "activating": AgentState.STARTING,
    "active": AgentState.RUNNING,
    "reloading": AgentState.RUNNING,
    "deactivating": AgentState.STOPPING,
    "failed": AgentState.FAILED,
    "maintenance": AgentState.STOPPING,
}
"""The public state for each ActiveState of the unit. systemd keeps the state; this names it."""


@dataclass(frozen=True)
class UnitStatus:
    """The status of a container's unit, as systemd reports it."""

    active: str = "inactive"
    """ActiveState."""
    invocation: str = ""
    """InvocationID in hex; empty when the unit never ran."""
    result: str = "success"
    """Result: `success`, `exit-code`, `signal`, `watchdog`, `start-limit-hit`, ..."""
    code: int = 0
    """ExecMainCode, a CLD_ constant: 1 exited, 2 killed, 3 dumped."""
    status: int = 0
    """ExecMainStatus: the exit status, or the number of the fatal signal."""
    since: int = 0
    """StateChangeTimestamp, microseconds since 1970."""
    frozen: bool = False
    """Whether the unit is paused."""

    @property
    def state(self) -> AgentState:
        """The public state."""
        return STATES.get(self.active, AgentState.FAILED)

    @property
    def up(self) -> bool:
        """Whether the container is READY."""
        return self.state is AgentState.RUNNING

    @property
    def overdue(self) -> bool:
        """Whether systemd has begun to stop the unit because a time limit was exceeded."""
        return (self.active, self.result) == ("deactivating", "timeout")

    @property
    def failure(self) -> str:
        """The reason why the container has failed, in words; empty if it has not."""
        if self.state is not AgentState.FAILED:
            return ""
        ended = {1: f", exit status {self.status}", 2: f", signal {self.status}"}.get(self.code, "")
        return f"the container ended with the result {self.result}{ended}"

    @property
    def settled(self) -> bool:
        """Whether the cause of an end is known. A stop counts as clean only when it is over."""
        return self.active != "deactivating" or self.result != "success"


@dataclass(frozen=True)
class Spec:
    """The values that a container is created from."""

    name: str
    uid_base: int
    machine_id: str
    model: str = ""
    resources: Mapping[str, int | str] = field(default_factory=dict)
    """The limits that the operator has set beside the configuration."""
    commit: str = ""
    """The commit of the deployed configuration; empty when there is none."""
    started: Start | None = None
    """The start that the agent is told of."""
    network: NetworkMode = NetworkMode.HOST
    """The network that the container's files were last made for."""
    keeps_host: bool = False
    """Whether it keeps the host's network until the next deployment, unless hyperhive.toml names
    another one for this agent."""
    port: int = 0
    """The port of the agent's page; 0 when no port was left."""

    @property
    def is_manager(self) -> bool:
        """Whether this agent coordinates the others."""
        return self.name == names.MANAGER


_KEPT: Final = (
    *("model", "effort", "session", "context_tokens", "context_limit", "logged_in"),
    *("credential", "model_setting"),
)
"""The fields of a report that are shown as they are."""

CREDENTIALS: Final = ("key", "login", "scripted", "none")
"""The kinds of credentials of a harness."""


@dataclass
class Agent:
    """An agent of this hive, as its Agent1 object shows it.

    `announce` is called after a change, with the names of the changed attributes.
    """

    spec: Spec
    unit: str
    enabled: bool = True
    unit_status: UnitStatus = field(default_factory=UnitStatus)
    turn_state: TurnState = TurnState.OFFLINE
    turn_since: int = 0
    turn_reason: str = ""
    turn_until: int = 0
    in_turn: bool = False
    """Whether a restart would interrupt a turn, as far as its harness has reported."""
    activity: str = ""
    model_setting: str = ""
    """The model for which its turns ask; empty for Claude Code's own choice, or if unknown."""
    model: str = ""
    effort: str = ""
    context_tokens: int = 0
    context_limit: int = 0
    session: str = ""
    logged_in: bool = False
    login_missing: bool = False
    """Whether the harness has missed a login, and has not reported one since. It tries a login that
    was refused again and again, so its turn state alone does not show that.
    """
    asleep: bool = False
    """Whether the container is stopped, or being stopped, until there is a message."""
    stale: bool = False
    """Whether another version of Hyperhive created the container."""
    port: int = 0
    """The port of the agent's page; 0 when no port was left."""
    port_shared: tuple[str, ...] = ()
    """The other agents and tombstones that have the same port, by mistake."""
    announce: Callable[["Agent", frozenset[str]], None] = lambda _agent, _changed: None
    turn: Turn = field(default_factory=Turn)
    """The turn state without the holds and the connection of the harness."""
    reported: bool = False
    """Whether the harness has reported to this lifecycle. What an earlier one has stored may be
    wrong: a turn may have begun since."""
    credential: str = ""
    """The kind of credentials that the harness uses: `key`, `login`, ...; empty if unknown."""
    hold: Hold | None = None
    """The hold on the agent's inbox."""
    crashes: Crashes = field(default_factory=Crashes)
    """The crashes of its container since the last job."""

    def __post_init__(self) -> None:
        self.model = self.model or self.spec.model

    def restore(self, record: TurnRecord) -> None:
        """Take the reports that an earlier lifecycle has stored, before the agent is shown."""
        self.turn = record.turn
        self.model = record.model or self.model
        self.effort, self.session = record.effort, record.session
        self.context_tokens, self.context_limit = record.context_tokens, record.context_limit
        self.logged_in = record.logged_in
        self.login_missing = not record.logged_in and record.state is not TurnState.OFFLINE
        self.model_setting = record.model_setting
        # Earlier versions stored any text.
        self.credential = record.credential if record.credential in CREDENTIALS else ""
        self.turn_since = record.since

    @property
    def turn_record(self) -> TurnRecord:
        """The reports, to be stored."""
        turn = self.turn
        return TurnRecord(
            agent=self.name,
            state=turn.state,
            since=turn.since,
            reason=turn.reason,
            until=turn.until,
            invocation=turn.invocation,
            away=turn.away,
            model=self.model,
            effort=self.effort,
            session=self.session,
            context_tokens=self.context_tokens,
            context_limit=self.context_limit,
            logged_in=self.logged_in,
            credential=self.credential,
            model_setting=self.model_setting,
        )

    @property
    def name(self) -> str:
        """The agent's name."""
        return self.spec.name

    @property
    def machine(self) -> str:
        """The machine's name in machined."""
        return names.machine_name(self.name)

    def spec_at(self, commit: str) -> Spec:
        """Return the spec of the container with the configuration at `commit`."""
        return replace(self.spec, commit=commit)

    @property
    def state(self) -> AgentState:
        """The state of the container."""
        status = self.unit_status
        if self.asleep and status.state in (AgentState.STOPPED, AgentState.FAILED):
            return AgentState.SLEEPING
        return AgentState.PAUSED if status.up and status.frozen else status.state

    def set_wanted(self, enabled: bool, asleep: bool) -> None:
        """Note the desired state."""
        self._set({"enabled": enabled, "asleep": asleep})

    def set_spec(self, spec: Spec) -> None:
        """Note the spec of the container's next start."""
        self._set({"spec": spec})

    def set_crashes(self, crashes: Crashes) -> None:
        """Note the crashes of the container since the last job."""
        self._set({"crashes": crashes})

    def set_stale(self, stale: bool) -> None:
        """Note whether another version of Hyperhive created the container."""
        self._set({"stale": stale})

    def set_port(self, port: int, shared: tuple[str, ...]) -> None:
        """Note the agent's port, and the others that have the same one."""
        spec = replace(self.spec, port=port)
        self._set({"port": port, "port_shared": shared, "spec": spec})

    def set_unit_status(self, status: UnitStatus) -> None:
        """Note the status of the unit. A harness whose container is not READY is offline."""
        runs = status.state in (AgentState.RUNNING, AgentState.STARTING)
        if not runs or status.invocation != self.turn.invocation:
            self.turn = self.turn.ended()
        self._set({"unit_status": status, **self._shown_turn(status)})

    def set_harness(self, connected: bool) -> None:
        """Note whether the harness is connected to the agent's endpoint."""
        self.turn = self.turn.connected(connected, self.unit_status.invocation)
        self._set(self._shown_turn(self.unit_status))

    def set_hold(self, hold: Hold | None) -> None:
        """Note whether the agent's inbox is held."""
        self.hold = hold
        self._set(self._shown_turn(self.unit_status))

    def report(self, report: Report) -> None:
        """Note a report of the agent's harness.

        A turn state is dropped while the container is not READY: the report was on its way when
        the container ended.

        Raises:
            InvalidArgument: the report is not valid; nothing of it is noted.
        """
        turn = self.turn.reported(report, self.unit_status.invocation)
        _check(report)
        values = {key: getattr(report, key) for key in _KEPT if getattr(report, key) is not None}
        if report.activity is not None:
            values["activity"] = one_line(report.activity, MAX_ACTIVITY)
        if self.unit_status.up or self.state is AgentState.STARTING:
            if turn.state is not self.turn.state:
                values.setdefault("activity", "")
            if turn.state is not TurnState.OFFLINE:
                self.turn = turn
                values["reported"] = True
        else:
            values["activity"] = ""
        self._set(values | self._shown_turn(self.unit_status))
        if self.turn.state is TurnState.NEEDS_LOGIN:
            self.login_missing = True
        elif self.logged_in:
            self.login_missing = False

    def _shown_turn(self, status: UnitStatus) -> dict[str, object]:
        """Return the attributes that show the turn state of a container with this status."""
        turn = self.turn.shown(self.hold, up=status.up, since=status.since)
        shown: dict[str, object] = {
            "turn_state": turn.state,
            "turn_since": turn.since,
            "turn_reason": turn.reason,
            "turn_until": turn.until,
            "in_turn": turn.interruptible,
        }
        if turn.state in UNKNOWN:
            shown["activity"] = ""
        if turn.state is TurnState.OFFLINE:
            shown["turn_reason"] = status.failure
        return shown

    def _set(self, values: Mapping[str, object]) -> None:
        changed = frozenset(key for key, value in values.items() if getattr(self, key) != value)
        for key in changed:
            setattr(self, key, values[key])
        if changed:
            self.announce(self, changed)


_COMMIT: Final = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


def check_commit(commit: str) -> None:
    """Check the full name of a commit.

    Raises:
        InvalidArgument: the name is not valid.
    """
    if not _COMMIT.fullmatch(commit):
        raise InvalidArgument(
            f"{commit[:70]!r} is not a valid commit: use all of its 40 (or 64) characters 0-9 a-f."
        )


_EFFORT: Final = re.compile(rf"[a-z0-9-]{{0,{MAX_EFFORT}}}")


def check_effort(effort: str) -> None:
    """Check a level of effort. Claude Code knows which levels there are; empty is the default.

    Raises:
        InvalidArgument: the level is not valid.
    """
    if not _EFFORT.fullmatch(effort):
        raise InvalidArgument(
            f"{effort[:40]!r} is not a valid level of effort. "
            f"Use {', '.join(EFFORTS)} or {DEFAULT}."
        )


_SESSION: Final = re.compile(rf"[A-Za-z0-9_.-]{{0,{MAX_SESSION}}}")


def _check(report: Report) -> None:
    """Check the names in a report: others read them, and compare the credentials.

    Raises:
        InvalidArgument: a name is not valid.
    """
    if report.model is not None:
        names.check_model_name(report.model)
    if report.model_setting:
        names.check_model_name(report.model_setting)
    if report.effort is not None:
        check_effort(report.effort)
    if report.session is not None and not _SESSION.fullmatch(report.session):
        raise InvalidArgument(
            f"{report.session[:70]!r} is not a valid session: use at most {MAX_SESSION} "
            "characters A-Z a-z 0-9 _ . -."
        )
    if report.credential is not None and report.credential not in CREDENTIALS:
        raise InvalidArgument(
            f"{report.credential[:40]!r} is not a valid credential. Use one of: "
            f"{', '.join(CREDENTIALS)}."
        )
