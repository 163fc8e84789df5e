"""The turn state, which the harness reports to the hive."""

from enum import StrEnum
from typing import Final


class State(StrEnum):
    """The turn state of a running agent."""

    IDLE = "idle"
    THINKING = "thinking"
    COMPACTING = "compacting"
    WAITING = "waiting"
    RATE_LIMITED = "rate-limited"
    NEEDS_LOGIN = "needs-login"
    ERROR = "error"


_RUNNING: Final = frozenset({State.THINKING, State.COMPACTING, State.WAITING})
_ENDED: Final = frozenset({State.IDLE, State.RATE_LIMITED, State.NEEDS_LOGIN, State.ERROR})

TRANSITIONS: Final[dict[State, frozenset[State]]] = {
    State.IDLE: frozenset(
        {
            State.THINKING,
            State.COMPACTING,
            State.RATE_LIMITED,
            State.NEEDS_LOGIN,
            State.ERROR,
        }
    ),
    State.THINKING: frozenset({State.COMPACTING, State.WAITING}) | _ENDED,
    State.COMPACTING: frozenset({State.THINKING, State.WAITING}) | _ENDED,
    State.WAITING: frozenset({State.THINKING, State.COMPACTING}) | _ENDED,
    State.RATE_LIMITED: _RUNNING | _ENDED - {State.RATE_LIMITED},
    State.NEEDS_LOGIN: frozenset({State.IDLE, State.THINKING, State.COMPACTING})
    | {State.RATE_LIMITED},
    State.ERROR: _RUNNING | _ENDED - {State.ERROR},
}


def transition(state: State, to: State) -> State:
    """Return the new state.

    Raises:
        ValueError: there is no such transition.
    """
    if to is not state and to not in TRANSITIONS[state]:
        raise ValueError(f"There is no transition from {state} to {to}.")
    return to
