"""Which connection holds which leased message. Rules only; nothing here speaks to the broker."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final


class State(StrEnum):
    """What has become of a message that the broker leased to this endpoint."""

    TAKEN = "taken"  # the answer that carries it is not with the client yet
    HANDED = "handed"  # the client has it
    SETTLED = "settled"  # acknowledged or released: not held any more


TRANSITIONS: Final = {
    State.TAKEN: frozenset({State.HANDED, State.SETTLED}),
    State.HANDED: frozenset({State.SETTLED}),
    State.SETTLED: frozenset(),
}


class Scope:
    """One connection, as the holder of leases."""


class Leases:
    """Every message that this endpoint holds, by the connection that received it."""

    def __init__(self) -> None:
        self._held: dict[int, tuple[Scope, State]] = {}

    def take(self, scope: Scope, ids: Iterable[int]) -> None:
        """The broker has leased `ids` for `scope`."""
        self._held |= dict.fromkeys(ids, (scope, State.TAKEN))

    def hand(self, ids: Iterable[int]) -> None:
        """The client has read what carries `ids`."""
        for id in ids:
            self._move(id, State.HANDED)

    def settle(self, ids: Iterable[int]) -> list[int]:
        """`ids` are acknowledged or released; answers which of them were held until now."""
        return [id for id in list(ids) if self._move(id, State.SETTLED)]

    def held(self, scope: Scope) -> list[int]:
        """What `scope` holds, in whatever state."""
        return [id for id, (holder, _) in self._held.items() if holder is scope]

    def handed(self, scope: Scope) -> list[int]:
        """What the client of `scope` has and has not acknowledged."""
        return [id for id, held in self._held.items() if held == (scope, State.HANDED)]

    def handed_to_others(self, scope: Scope) -> list[int]:
        """What all other clients have and have not acknowledged."""
        return [
            id
            for id, (holder, state) in self._held.items()
            if holder is not scope and state is State.HANDED
        ]

    def forget(self) -> None:
        """The broker has restarted: it has queued everything again, so nothing is held."""
        self._held.clear()

    def _move(self, id: int, state: State) -> bool:
        """Whether the message was held, and may go to `state`."""
        scope, before = self._held.get(id, (None, State.SETTLED))
        if scope is None or state not in TRANSITIONS[before]:
            return False
        if state is State.SETTLED:
            del self._held[id]
        else:
            self._held[id] = (scope, state)
        return True
