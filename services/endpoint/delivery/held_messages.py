"""The leases of this endpoint: which connection holds which message. It does not use the bus."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final


class State(StrEnum):
    """The state of a message that the broker leased to this endpoint."""

    LEASED = "leased"  # the client does not have the answer that carries it yet
    DELIVERED = "delivered"  # the client has it
    SETTLED = "settled"  # acknowledged or released: not held any more


TRANSITIONS: Final = {
    State.LEASED: frozenset({State.DELIVERED, State.SETTLED}),
    State.DELIVERED: frozenset({State.SETTLED}),
    State.SETTLED: frozenset(),
}


class Holder:
    """A connection in its role as the holder of leases."""


class HeldMessages:
    """The messages that this endpoint holds, by the connection that received them."""

    def __init__(self) -> None:
        self._held: dict[int, tuple[Holder, State]] = {}

    def lease(self, holder: Holder, ids: Iterable[int]) -> None:
        """Record that the broker has leased `ids` for `holder`."""
        self._held |= dict.fromkeys(ids, (holder, State.LEASED))

    def deliver(self, ids: Iterable[int]) -> None:
        """Record that the client has read the answer that carries `ids`."""
        for id in ids:
            self._move(id, State.DELIVERED)

    def settle(self, ids: Iterable[int]) -> list[int]:
        """Record that `ids` are acknowledged or released; return those that were held."""
        return [id for id in list(ids) if self._move(id, State.SETTLED)]

    def held(self, holder: Holder) -> list[int]:
        """Return the messages that `holder` holds, in any state."""
        return [id for id, (by, _) in self._held.items() if by is holder]

    def delivered(self, holder: Holder) -> list[int]:
        """Return the messages that the client of `holder` has and has not acknowledged."""
        return [id for id, held in self._held.items() if held == (holder, State.DELIVERED)]

    def delivered_to_others(self, holder: Holder) -> list[int]:
        """Return the messages that all other clients have and have not acknowledged."""
        return [
            id
            for id, (by, state) in self._held.items()
            if by is not holder and state is State.DELIVERED
        ]

    def forget(self) -> None:
        """Hold nothing: the broker has restarted, and has queued all messages again."""
        self._held.clear()

    def _move(self, id: int, state: State) -> bool:
        """Move a message to `state` if it is held and the table allows it; return whether."""
        holder, before = self._held.get(id, (None, State.SETTLED))
        if holder is None or state not in TRANSITIONS[before]:
            return False
        if state is State.SETTLED:
            del self._held[id]
        else:
            self._held[id] = (holder, state)
        return True
