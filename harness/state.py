"""What the harness is doing, as the hive is told it."""

from enum import StrEnum
from typing import Final


class State(StrEnum):
    """The turn state of an agent that runs."""

    IDLE = "idle"
    THINKING = "thinking"
    ERROR = "error"
    NEEDS_LOGIN = "needs-login"


TRANSITIONS: Final[dict[State, frozenset[State]]] = {
    State.IDLE: frozenset({State.THINKING, State.NEEDS_LOGIN}),
    State.THINKING: frozenset({State.IDLE, State.ERROR, State.NEEDS_LOGIN}),
    State.ERROR: frozenset({State.IDLE, State.THINKING, State.NEEDS_LOGIN}),
    State.NEEDS_LOGIN: frozenset({State.IDLE, State.THINKING}),
}


def moved(state: State, to: State) -> State:
    """The new state.

    Raises:
        ValueError: there is no such transition.
    """
    if to is not state and to not in TRANSITIONS[state]:
        raise ValueError(f"{state} does not lead to {to}")
    return to
