"""One agent: its states, what is known about its container, and what its harness reports."""

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from wire import names
from wire.errors import InvalidArgument

MAX_MODEL: Final = 128


class State(StrEnum):
    """What the container does."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    FAILED = "failed"
    PAUSED = "paused"
    SLEEPING = "sleeping"
    """Stopped, until somebody needs it."""


STATES: Final[Mapping[str, State]] = {
    "inactive": State.STOPPED,
    "activating": State.STARTING,
    "active": State.RUNNING,
    "reloading": State.RUNNING,
    "deactivating": State.STOPPING,
    "failed": State.FAILED,
    "maintenance": State.STOPPING,
}
"""The public state by the unit's ActiveState: systemd keeps the state, this names it."""


class TurnState(StrEnum):
    """What the agent's harness does."""

    OFFLINE = "offline"
    IDLE = "idle"
    THINKING = "thinking"
    ERROR = "error"
    NEEDS_LOGIN = "needs-login"


REPORTABLE: Final = tuple(turn.value for turn in TurnState if turn is not TurnState.OFFLINE)
"""`offline` is no report: it is what an agent is while nothing can report."""


@dataclass(frozen=True)
class UnitStatus:
    """What systemd says about a container's unit."""

    active: str = "inactive"
    """ActiveState."""
    invocation: str = ""
    """InvocationID in hex, empty when the unit never ran."""
    result: str = "success"
    """Result: `success`, `exit-code`, `signal`, `watchdog`, `start-limit-hit`, ..."""
    code: int = 0
    """ExecMainCode, a CLD_ constant: 1 exited, 2 killed, 3 dumped."""
    status: int = 0
    """ExecMainStatus: the exit status, or the signal that killed it."""
    since: int = 0
    """StateChangeTimestamp, microseconds since 1970."""
    frozen: bool = False
    """Whether its processes get no processor time."""

    @property
    def state(self) -> State:
        """The public state."""
        return STATES.get(self.active, State.FAILED)

    @property
    def up(self) -> bool:
        """Whether the container is READY."""
        return self.state is State.RUNNING

    @property
    def overdue(self) -> bool:
        """Whether systemd has begun to end it, for what it was doing took too long."""
        return (self.active, self.result) == ("deactivating", "timeout")

    @property
    def settled(self) -> bool:
        """Whether the cause of an end is known: a clean stop decides only when it is over."""
        return self.active != "deactivating" or self.result != "success"


@dataclass(frozen=True)
class Spec:
    """What a container is made from."""

    name: str
    uid_base: int
    machine_id: str
    model: str = ""
    resources: Mapping[str, int | str] = field(default_factory=dict)
    """What the operator has set beside the configuration."""
    commit: str = ""
    """Of the configuration that is deployed; empty when none ever was."""

    @property
    def is_manager(self) -> bool:
        """Whether this is the agent that coordinates the others."""
        return self.name == names.MANAGER


@dataclass
class Agent:
    """An agent of this hive, as its Agent1 object shows it.

    `announce` is called with the names of the attributes that changed, after they changed.
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
    """Whether it is stopped, or being stopped, only until somebody needs it."""
    stale: bool = False
    """Whether its container was made by another version of Hyperhive."""
    port: int = 0
    """Of its page; 0 when there was none left."""
    port_shared: tuple[str, ...] = ()
    """Who else has its port, which must not be."""
    announce: Callable[["Agent", frozenset[str]], None] = lambda _agent, _changed: None

    def __post_init__(self) -> None:
        self.model = self.model or self.spec.model

    @property
    def name(self) -> str:
        """The agent's name."""
        return self.spec.name

    @property
    def machine(self) -> str:
        """The machine's name, as machined knows it."""
        return names.machine_name(self.name)

    def spec_at(self, commit: str) -> Spec:
        """What its container would be made from with the configuration at `commit`."""
        return replace(self.spec, commit=commit)

    @property
    def state(self) -> State:
        """What the container does."""
        status = self.unit_status
        if self.asleep and status.state in (State.STOPPED, State.FAILED):
            return State.SLEEPING
        return State.PAUSED if status.up and status.frozen else status.state

    def set_wanted(self, enabled: bool, asleep: bool) -> None:
        """Note the desired state."""
        self._set({"enabled": enabled, "asleep": asleep})

    def set_spec(self, spec: Spec) -> None:
        """Note what its container is made from."""
        self._set({"spec": spec})

    def set_stale(self, stale: bool) -> None:
        """Note whether an update would make it another one."""
        self._set({"stale": stale})

    def set_port(self, port: int, shared: tuple[str, ...]) -> None:
        """Note its port, and who else has it."""
        self._set({"port": port, "port_shared": shared})

    def set_unit_status(self, status: UnitStatus) -> None:
        """Note what systemd says; a harness whose container is not up is offline."""
        restarted = status.invocation != self.unit_status.invocation
        values: dict[str, Any] = {"unit_status": status}
        if not status.up or restarted:
            values |= self._turn(TurnState.OFFLINE)
        self._set(values)

    def report(self, report: Mapping[str, object]) -> None:
        """Note what the agent's harness says of itself.

        Keys, all optional: `turn_state` (one of REPORTABLE), `model` (up to 128 characters),
        `context_tokens` (0 or more), `logged_in`. Raises InvalidArgument for anything else,
        and then notes nothing. While the container is not up, a turn state is dropped: the
        report was on its way when the container ended.
        """
        values: dict[str, Any] = {}
        for key, value in report.items():
            check = _REPORT_CHECKS.get(key)
            if check is None:
                known = ", ".join(_REPORT_CHECKS)
                raise InvalidArgument(f"A report has no {key!r}; it may have: {known}.")
            values[key] = check(value)
        turn = values.pop("turn_state", None)
        if turn is not None and (self.unit_status.up or self.state is State.STARTING):
            values |= self._turn(turn)
        self._set(values)

    def _turn(self, turn: TurnState) -> dict[str, Any]:
        if turn is self.turn_state:
            return {}
        return {"turn_state": turn, "turn_since": time.time_ns() // 1000}

    def _set(self, values: Mapping[str, Any]) -> None:
        changed = frozenset(key for key, value in values.items() if getattr(self, key) != value)
        for key in changed:
            setattr(self, key, values[key])
        if changed:
            self.announce(self, changed)


def _check_turn(value: object) -> TurnState:
    if not isinstance(value, str) or value not in REPORTABLE:
        raise InvalidArgument(f"turn_state is one of: {', '.join(REPORTABLE)}.")
    return TurnState(value)


def _check_model(value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_MODEL or not value.isprintable():
        raise InvalidArgument(f"model is a text of up to {MAX_MODEL} printable characters.")
    return value


def _check_tokens(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 63:
        raise InvalidArgument("context_tokens is a number, 0 or more.")
    return value


def _check_login(value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidArgument("logged_in is a boolean.")
    return value


_REPORT_CHECKS: Final[Mapping[str, Callable[[object], object]]] = {
    "turn_state": _check_turn,
    "model": _check_model,
    "context_tokens": _check_tokens,
    "logged_in": _check_login,
}


def check_name(name: str) -> str:
    """`name`, if an agent may be called so; InvalidArgument says the rule."""
    if not names.AGENT_NAME.fullmatch(name):
        raise InvalidArgument(
            "An agent's name is 1 to 9 lower-case letters, digits and hyphens, "
            f"and starts with a letter; {name[:40]!r} is not."
        )
    if name in names.RESERVED_NAMES:
        raise InvalidArgument(f"No agent may be called {name!r}: that is who speaks for the hive.")
    return name


def check_commit(commit: object) -> str:
    """`commit`, if it is the full name of one; InvalidArgument says the rule."""
    if not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
        raise InvalidArgument("A commit is named by all of its 40 (or 64) characters 0-9 a-f.")
    return commit


_COMMIT: Final = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


def check_options(options: Mapping[str, object]) -> dict[str, str]:
    """What the options of Spawn ask for: `model` and `commit`, each empty for the default.

    Raises InvalidArgument for any other option.
    """
    unknown: Iterable[str] = options.keys() - {"model", "commit"}
    for key in sorted(unknown):
        raise InvalidArgument(f"Spawn has no option {key!r}; it may have: model, commit.")
    commit = options.get("commit", "")
    return {
        "model": _check_model(options.get("model", "")),
        "commit": check_commit(commit) if commit else "",
    }
