"""Tells the manager what became of the requests: each end once, owed until the broker has it."""

import logging
from contextlib import suppress
from typing import Final, Protocol

from services.approvals.ledger import Ledger
from services.approvals.model import Approval, Kind, State
from wire.errors import HiveError, LimitExceeded, NotFound

log = logging.getLogger(__name__)

TOO_MUCH: Final = 60.0
"""After how many seconds the broker is asked again when it was sent too much in this hour."""


class Broker(Protocol):
    """What we need from the broker."""

    async def tell_manager(self, body: str, dedupe_key: str) -> None:
        """Send the manager a message; twice with one key is once."""


class Teller:
    """What the manager is owed."""

    def __init__(self, ledger: Ledger, broker: Broker) -> None:
        self._store = ledger.store
        self._broker = broker

    async def tell(self) -> float | None:
        """Tell all that is owed; returns after how many seconds to try again, None: at a change."""
        for approval in self._store.untold():
            try:
                # Without a manager nobody is owed anything.
                with suppress(NotFound):
                    await self._broker.tell_manager(sentence(approval), f"approval-{approval.id}")
                self._store.set_told(approval.id)
            except HiveError as error:
                log.warning("The manager will hear of request %d later: %s", approval.id, error)
                return TOO_MUCH if isinstance(error, LimitExceeded) else None
        return None


def sentence(approval: Approval) -> str:
    """What became of a request, for who asked for it."""
    agent, commit, note = approval.agent, approval.commit[:12], approval.note
    asked = f"The request {approval.id} to {_purpose(approval)}"
    match approval.state:
        case State.DEPLOYED if approval.kind is Kind.SPAWN:
            return f"{asked} was approved, and {agent} is there now."
        case State.DEPLOYED:
            return f"{asked} was approved, and {commit} is deployed."
        case State.FAILED if approval.kind is Kind.SPAWN:
            return f"{asked} was approved, but it failed: {note}"
        case State.FAILED:
            return f"{asked} was approved, but it failed, and {agent} is as it was: {note}"
        case State.DENIED | State.SUPERSEDED | State.WITHDRAWN:
            return f"{asked} was {approval.state}" + (f": {note}" if note else ".")
        case State.PENDING | State.APPROVED | State.BUILDING:
            return f"{asked} is {approval.state}."


def _purpose(approval: Approval) -> str:
    match approval.kind:
        case Kind.SPAWN:
            return f"spawn {approval.agent}"
        case Kind.APPLY:
            return f"deploy {approval.commit[:12]} to {approval.agent}"
        case Kind.REVERT:
            return f"take {approval.agent} back to {approval.commit[:12]}"
