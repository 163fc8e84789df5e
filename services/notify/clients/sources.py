"""The sources of notifications: lists of other services, and the signals that announce changes."""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import ClassVar, Final

from services.config import Event
from services.notify.notification import Notification
from wire import names
from wire.bus import Bus
from wire.clients.approvals import ApprovalsClient
from wire.clients.broker import BrokerClient
from wire.clients.ledger import LedgerClient
from wire.records.approvals import Approval, ApprovalFilter, ApprovalResolved, ApprovalState
from wire.records.broker import (
    Message,
    MessageFilter,
    MessageState,
    Question,
    QuestionFilter,
    QuestionState,
    have_numbers,
)
from wire.records.codec import decode
from wire.records.ledger import Egress, EgressFilter, EgressState
from wire.signals import Signal

LIMIT: Final = 1000
"""The most items that one answer carries."""

_EVENTS: Final[Mapping[str, Event]] = {
    "container-crash": "crash",
    "budget-warning": "budget",
    "budget-exhausted": "budget",
}
"""The events of messages by their kinds; all others are notices."""
_DEAD_LETTER: Final = "dead-letter"
_OF_DEAD_LETTERS: Final = re.compile(r"\d+ messages? to ([a-z0-9-]+) could not be delivered\.")
"""The beginning of a message of the broker about dead letters; it names their recipient."""
_UNREAD: Final = frozenset({MessageState.QUEUED, MessageState.LEASED})


class Source(ABC):
    """One list."""

    name: ClassVar[str]
    service: ClassVar[str]
    """The bus name of the service that has the list."""
    rules: ClassVar[Sequence[Mapping[str, str]]]
    """Match rules, without the sender, of the signals that announce a change of the list."""

    def concerns(self, signal: Signal) -> bool:
        """Return whether a signal that matches a rule announces a change. Raises HiveError."""
        return True

    @abstractmethod
    async def fetch(self, bus: Bus, after: int) -> list[Notification]:
        """Return the items of the list, oldest first; items up to number `after` may be missing.

        Raises HiveError.
        """


class _Approvals(Source):
    """The requests in one state."""

    service = names.APPROVALS
    state: ClassVar[ApprovalState]

    async def fetch(self, bus: Bus, after: int) -> list[Notification]:
        """Return all of them, whatever `after`: an old request may have failed only now."""
        wanted = ApprovalFilter(state=self.state, limit=LIMIT)
        found = await ApprovalsClient(bus).list_approvals(wanted)
        return [self.notification(request) for request in found]

    @abstractmethod
    def notification(self, request: Approval) -> Notification:
        """Return the notification about a request."""


class PendingRequests(_Approvals):
    """The requests that wait for the operator's decision."""

    name = "pending"
    state = ApprovalState.PENDING
    rules = ({"interface": names.APPROVALS, "member": "ApprovalAdded"},)

    def notification(self, request: Approval) -> Notification:
        """Name the change, the requester, and the reason."""
        return Notification.of(
            "approval",
            request.id,
            f"{request.kind} of {request.agent} waits for approval {request.id}",
            f"{request.requested_by}: {request.reason}",
            request.requested,
            request.requested_by if request.requested_by == names.MANAGER else "",
        )


class FailedRequests(_Approvals):
    """The requests that were approved and could not be carried out."""

    name = "failed"
    state = ApprovalState.FAILED
    rules = ({"interface": names.APPROVALS, "member": "ApprovalResolved"},)

    def concerns(self, signal: Signal) -> bool:
        """Return whether the request that was resolved has failed."""
        return decode(ApprovalResolved, signal.args).state == self.state

    def notification(self, request: Approval) -> Notification:
        """Name the change, and the reason of the failure."""
        return Notification.of(
            "deploy-failed",
            request.id,
            f"{request.kind} of {request.agent} failed",
            request.note,
            request.resolved,
        )


class Questions(Source):
    """The open questions to the operator."""

    name = "questions"
    service = names.BROKER
    rules = ({"interface": names.BROKER, "member": "QuestionAdded", "arg0": names.OPERATOR},)

    async def fetch(self, bus: Bus, after: int) -> list[Notification]:
        """Return the open ones after `after`."""
        wanted = QuestionFilter(recipient=names.OPERATOR, state=QuestionState.OPEN, after=after)
        found = await BrokerClient(bus).list_questions(wanted, LIMIT)
        return [self._notification(question) for question in found]

    @staticmethod
    def _notification(question: Question) -> Notification:
        numbers = have_numbers(question.choices)
        options = [
            f"{index}  {choice}" if numbers else choice
            for index, choice in enumerate(question.choices, 1)
        ]
        return Notification.of(
            "question",
            question.id,
            f"{question.asker} asks you ({question.id})",
            "\n".join([question.text, *options]),
            question.asked,
            "" if question.asker in (names.OPERATOR, names.SYSTEM) else question.asker,
            _offered(question),
        )


def _offered(question: Question) -> list[str]:
    """Return the choices that a notification may offer: the call of a tool must be read first."""
    asked_by_agent = question.asker not in (names.OPERATOR, names.SYSTEM)
    is_plain = asked_by_agent and not question.multi and not question.permission
    return question.choices if is_plain else []


class SystemMessages(Source):
    """The hive's own messages to the operator: failed containers, budgets, missing logins."""

    name = "messages"
    service = names.BROKER
    rules = ({"interface": names.BROKER, "member": "OperatorMessageQueued", "arg0": names.SYSTEM},)

    async def fetch(self, bus: Bus, after: int) -> list[Notification]:
        """Return those after `after` that the operator has not read."""
        wanted = MessageFilter(recipient=names.OPERATOR, sender=names.SYSTEM, after=after)
        found = await BrokerClient(bus).list_messages(wanted, LIMIT)
        return [self._notification(message) for message in found if message.state in _UNREAD]

    @staticmethod
    def _notification(message: Message) -> Notification:
        event = _EVENTS.get(message.kind, "notice")
        title = f"{message.kind}: message {message.id} for you"
        # An agent makes dead letters of its messages as often as it likes.
        dead = _OF_DEAD_LETTERS.match(message.body) if message.kind == _DEAD_LETTER else None
        origin = dead[1] if dead else ""
        return Notification.of(event, message.id, title, message.body, message.queued, origin)


class AgentMessages(Source):
    """The messages of agents to the operator."""

    name = "mail"
    service = names.BROKER
    rules = ({"interface": names.BROKER, "member": "OperatorMessageQueued"},)

    def concerns(self, signal: Signal) -> bool:
        """Return whether somebody else than the hive has written."""
        return bool(signal.args[0] != names.SYSTEM)

    async def fetch(self, bus: Bus, after: int) -> list[Notification]:
        """Return those after `after` that the operator has not read."""
        wanted = MessageFilter(recipient=names.OPERATOR, after=after)
        found = await BrokerClient(bus).list_messages(wanted, LIMIT)
        mail = [message for message in found if message.sender != names.SYSTEM]
        return [self._notification(one) for one in mail if one.state in _UNREAD]

    @staticmethod
    def _notification(message: Message) -> Notification:
        return Notification.of(
            "message",
            message.id,
            f"{message.sender} writes to you ({message.id})",
            message.body,
            message.queued,
            "" if message.sender == names.OPERATOR else message.sender,
        )


class RefusedHosts(Source):
    """The hosts that were refused to agents and wait for the operator's decision."""

    name = "egress"
    service = names.LEDGER
    rules = ({"interface": names.LEDGER, "member": "EgressChanged"},)

    def __init__(self) -> None:
        self._listed: frozenset[int] = frozenset()

    def concerns(self, signal: Signal) -> bool:
        """Return whether a host waits that was not listed before: a refusal often repeats."""
        entry = decode(Egress, signal.args[0])
        return entry.state is EgressState.PENDING and _number(entry) not in self._listed

    async def fetch(self, bus: Bus, after: int) -> list[Notification]:
        """Return all of them, whatever `after`: their numbers have no order."""
        wanted = EgressFilter(state=EgressState.PENDING)
        found = await LedgerClient(bus).list_egress(wanted, LIMIT)
        self._listed = frozenset(map(_number, found))
        found.sort(key=lambda entry: entry.first)
        return [self._notification(entry) for entry in found]

    @staticmethod
    def _notification(entry: Egress) -> Notification:
        host = f"[{entry.host}]" if ":" in entry.host else entry.host
        return Notification.of(
            "egress",
            _number(entry),
            # The host is a word of the agent, which must not leave with `details = false`.
            f"{entry.agent} was refused a host",
            f"{host}:{entry.port}\n{entry.reason}",
            entry.first,
            entry.agent,
        )


def _number(entry: Egress) -> int:
    """Return a number for a refused host: the ledger gives it none.

    A host that is refused again after a decision, such as `once`, gets another number.
    """
    key = f"{entry.agent} {entry.host} {entry.port} {entry.decided}".encode()
    return int.from_bytes(blake2b(key, digest_size=6).digest())


SOURCES: Final[Sequence[Source]] = (
    PendingRequests(),
    FailedRequests(),
    Questions(),
    SystemMessages(),
    AgentMessages(),
    RefusedHosts(),
)
