"""One agent: its states, the status of its container and the reports of its harness."""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from wire import names
from wire.errors import InvalidArgument
from wire.records.lifecycle import AgentState, Report, TurnState

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

REPORTABLE: Final = tuple(turn.value for turn in TurnState if turn is not TurnState.OFFLINE)
"""The states that a harness may report. An agent is `offline` while nothing can report."""


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

    @property
    def is_manager(self) -> bool:
        """Whether this agent coordinates the others."""
        return self.name == names.MANAGER


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
    model: str = ""
    context_tokens: int = 0
    logged_in: bool = False
    asleep: bool = False
    """Whether the container is stopped, or being stopped, until there is a message."""
    stale: bool = False
    """Whether another version of Hyperhive created the container."""
    port: int = 0
    """The port of the agent's page; 0 when no port was left."""
    port_shared: tuple[str, ...] = ()
    """The other agents and tombstones that have the same port, by mistake."""
    announce: Callable[["Agent", frozenset[str]], None] = lambda _agent, _changed: None

    def __post_init__(self) -> None:
        self.model = self.model or self.spec.model

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

    def set_stale(self, stale: bool) -> None:
        """Note whether another version of Hyperhive created the container."""
        self._set({"stale": stale})

    def set_port(self, port: int, shared: tuple[str, ...]) -> None:
        """Note the agent's port, and the others that have the same one."""
        self._set({"port": port, "port_shared": shared})

    def set_unit_status(self, status: UnitStatus) -> None:
        """Note the status of the unit. A harness whose container is not READY is offline."""
        restarted = status.invocation != self.unit_status.invocation
        values: dict[str, object] = {"unit_status": status}
        if not status.up or restarted:
            values |= self._turn(TurnState.OFFLINE)
        self._set(values)

    def report(self, report: Report) -> None:
        """Note a report of the agent's harness.

        A turn state is dropped while the container is not READY: the report was on its way when
        the container ended.

        Raises:
            InvalidArgument: the report is not valid; nothing of it is noted.
        """
        values: dict[str, object] = {
            key: value for key, value in report._asdict().items() if value is not None
        }
        if report.model is not None:
            names.check_model_name(report.model)
        values.pop("turn_state", None)
        if report.turn_state is not None:
            turn = _reported(report.turn_state)
            if self.unit_status.up or self.state is AgentState.STARTING:
                values |= self._turn(turn)
        self._set(values)

    def _turn(self, turn: TurnState) -> dict[str, object]:
        if turn is self.turn_state:
            return {}
        return {"turn_state": turn, "turn_since": time.time_ns() // 1000}

    def _set(self, values: Mapping[str, object]) -> None:
        changed = frozenset(key for key, value in values.items() if getattr(self, key) != value)
        for key in changed:
            setattr(self, key, values[key])
        if changed:
            self.announce(self, changed)


def _reported(turn: str) -> TurnState:
    if turn not in REPORTABLE:
        raise InvalidArgument(
            f"{turn[:40]!r} is not a valid turn_state. Use one of: {', '.join(REPORTABLE)}."
        )
    return TurnState(turn)


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
