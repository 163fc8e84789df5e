"""Notifies the manager of the end of each request, once, as soon as the broker takes it."""

from dataclasses import dataclass
from typing import Final, Protocol

from services.approvals.ledger import Ledger
from services.approvals.model import Approval
from services.deliverer import Deliverer
from wire import names
from wire.records.approvals import ApprovalKind, ApprovalState


@dataclass(frozen=True, slots=True)
class Notice:
    """A message to the manager about the end of one request."""

    request: int
    body: str
    recipient: str = names.MANAGER

    @property
    def dedupe_key(self) -> str:
        """The key by which the broker drops a repetition."""
        return f"approval-{self.request}"


class Broker(Protocol):
    """The part of the broker that approvals uses."""

    async def send(self, notice: Notice) -> None:
        """Send the manager a message; the same one twice is delivered once."""


class Notifier:
    """Delivers the notices that the manager has not got yet: the ledger keeps which."""

    def __init__(self, ledger: Ledger, broker: Broker) -> None:
        self._ledger = ledger
        # Without a manager there is nobody to notify: the notice is dropped.
        self.deliverer: Final = Deliverer(
            self._owed, self._delivered, broker.send, drop_unknown=True
        )

    def _owed(self) -> list[Notice]:
        return [
            Notice(approval.id, sentence(approval))
            for approval in self._ledger.requests.unnotified()
        ]

    def _delivered(self, notice: Notice) -> None:
        self._ledger.notified(notice.request)


def sentence(approval: Approval) -> str:
    """Return the sentence that tells the manager the outcome of a request."""
    agent, commit, note = approval.agent, approval.commit[:12], approval.note
    request = f"The request {approval.id} to {_purpose(approval)}"
    match approval.state:
        case ApprovalState.DEPLOYED if approval.kind is ApprovalKind.SPAWN:
            return f"{request} was approved, and {agent} is running."
        case ApprovalState.DEPLOYED:
            return f"{request} was approved, and {commit} is deployed."
        case ApprovalState.FAILED if approval.kind is ApprovalKind.SPAWN:
            return f"{request} was approved, but it failed: {note}"
        case ApprovalState.FAILED:
            return f"{request} was approved, but it failed, and {agent} is unchanged: {note}"
        case ApprovalState.DENIED | ApprovalState.SUPERSEDED | ApprovalState.WITHDRAWN:
            return f"{request} was {approval.state}" + (f": {note}" if note else ".")
        case ApprovalState.PENDING | ApprovalState.APPROVED | ApprovalState.BUILDING:
            return f"{request} is {approval.state}."


def _purpose(approval: Approval) -> str:
    match approval.kind:
        case ApprovalKind.SPAWN:
            return f"spawn {approval.agent}"
        case ApprovalKind.APPLY:
            return f"deploy {approval.commit[:12]} to {approval.agent}"
        case ApprovalKind.REVERT:
            return f"take {approval.agent} back to {approval.commit[:12]}"
