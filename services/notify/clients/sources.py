"""The sources of notifications: lists of other services, and the signals that announce changes."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from services.config import Event
from services.notify.notification import Notification
from wire import names
from wire.bus import Bus
from wire.signals import Signal
from wire.types import U64

LIMIT: Final = 1000
"""The most items that one answer carries."""

_CRASH: Final = "container-crash"


class Source(ABC):
    """One list."""

    name: ClassVar[str]
    service: ClassVar[str]
    """The bus name of the service that has the list."""
    rules: ClassVar[Sequence[Mapping[str, str]]]
    """Match rules, without the sender, of the signals that announce a change of the list."""

    def concerns(self, signal: Signal) -> bool:
        """Whether a signal that matches a rule announces a change of the list."""
        return True

    @abstractmethod
    async def fetch(self, bus: Bus, after: int) -> list[Notification]:
        """Return the items of the list, oldest first; items up to number `after` may be missing.

        Raises HiveError.
        """


class _Approvals(Source):
    """The requests in one state."""

    service = names.APPROVALS
    state: ClassVar[str]

    async def fetch(self, bus: Bus, after: int) -> list[Notification]:
        """Return all of them, whatever `after`: an old request may have failed only now."""
        wanted = {"state": self.state, "limit": LIMIT}
        rows: list[list[Any]] = await bus.call1(
            names.APPROVALS, names.APPROVALS_PATH, names.APPROVALS, "List", "a{sv}", wanted
        )
        return [self.read(row) for row in rows]

    @abstractmethod
    def read(self, row: list[Any]) -> Notification:
        """Return the notification about a request."""


class PendingRequests(_Approvals):
    """The requests that wait for the operator's decision."""

    name = "pending"
    state = "pending"
    rules = ({"interface": names.APPROVALS, "member": "ApprovalAdded"},)

    def read(self, row: list[Any]) -> Notification:
        """Name the change, who asks for it, and the reason."""
        number, kind, agent = row[:3]
        reason, by, requested = row[-6:-3]
        return Notification.of(
            "approval",
            number,
            f"{kind} of {agent} waits for approval {number}",
            f"{by}: {reason}",
            requested,
            by if by == names.MANAGER else "",
        )


class FailedRequests(_Approvals):
    """The requests that were approved and could not be carried out."""

    name = "failed"
    state = "failed"
    rules = ({"interface": names.APPROVALS, "member": "ApprovalResolved"},)

    def concerns(self, signal: Signal) -> bool:
        """Whether the request that was resolved has failed."""
        return signal.args[2:3] == [self.state]

    def read(self, row: list[Any]) -> Notification:
        """Name the change, and the reason of the failure."""
        number, kind, agent = row[:3]
        note, resolved = row[-2:]
        return Notification.of("deploy-failed", number, f"{kind} of {agent} failed", note, resolved)


class Questions(Source):
    """The open questions to the operator."""

    name = "questions"
    service = names.BROKER
    rules = ({"interface": names.BROKER, "member": "QuestionAdded", "arg0": names.OPERATOR},)

    async def fetch(self, bus: Bus, after: int) -> list[Notification]:
        """Return the open ones after `after`."""
        wanted = {"to": names.OPERATOR, "state": "open", "after": U64(after)}
        rows = await _ask_broker(bus, "ListQuestions", wanted)
        return [self._read(row) for row in rows]

    @staticmethod
    def _read(row: list[Any]) -> Notification:
        number, asker, _, text, choices, _, asked = row[:7]
        options = "\n".join(f"{index}  {choice}" for index, choice in enumerate(choices, 1))
        origin = "" if asker == names.OPERATOR else asker
        return Notification.of(
            "question", number, f"{asker} asks you ({number})", f"{text}\n{options}", asked, origin
        )


class SystemMessages(Source):
    """The hive's own messages to the operator: failed containers, missing logins, reminders."""

    name = "messages"
    service = names.BROKER
    rules = ({"interface": names.BROKER, "member": "MessageQueued", "arg0": names.OPERATOR},)

    def concerns(self, signal: Signal) -> bool:
        """Whether the hive itself sent the message: agents' messages wait in the inbox."""
        return signal.args[2:3] == [names.SYSTEM]

    async def fetch(self, bus: Bus, after: int) -> list[Notification]:
        """Return those after `after` that nobody has read."""
        wanted = {"to": names.OPERATOR, "from": names.SYSTEM, "after": U64(after)}
        rows = await _ask_broker(bus, "ListMessages", wanted)
        return [self._read(row) for row in rows if row[9] in ("queued", "leased")]

    @staticmethod
    def _read(row: list[Any]) -> Notification:
        number, _, _, kind, body, queued = row[:6]
        event: Event = "crash" if kind == _CRASH else "notice"
        return Notification.of(event, number, f"{kind}: message {number} for you", body, queued)


async def _ask_broker(bus: Bus, member: str, wanted: Mapping[str, Any]) -> list[list[Any]]:
    rows: list[list[Any]] = await bus.call1(
        names.BROKER, names.BROKER_PATH, names.BROKER, member, "a{sv}u", wanted, LIMIT
    )
    return rows


SOURCES: Final[Sequence[Source]] = (
    PendingRequests(),
    FailedRequests(),
    Questions(),
    SystemMessages(),
)
