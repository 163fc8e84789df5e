"""Where news come from: lists of the other services, and the signals that tell of changes."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from services.config import Event
from services.notify.news import News, news
from wire import names
from wire.bus import Bus
from wire.signals import Signal
from wire.types import U64

MOST: Final = 1000
"""What one answer carries."""

_CRASH: Final = "container-crash"


class Source(ABC):
    """One list."""

    name: ClassVar[str]
    service: ClassVar[str]
    """The bus name of who has it."""
    rules: ClassVar[Sequence[Mapping[str, str]]]
    """Match rules, without the sender, of the signals that say that it has changed."""

    def concerns(self, signal: Signal) -> bool:
        """Whether a signal that matches says so."""
        return True

    @abstractmethod
    async def fetch(self, bus: Bus, after: int) -> list[News]:
        """What there is now, oldest first; what has no number above `after` may be left out.

        Raises HiveError.
        """


class _Approvals(Source):
    """The requests in one state."""

    service = names.APPROVALS
    state: ClassVar[str]

    async def fetch(self, bus: Bus, after: int) -> list[News]:
        """All of them: a request that is old may have failed only now."""
        rows: list[list[Any]] = await bus.call1(
            names.APPROVALS, names.APPROVALS_PATH, names.APPROVALS, "List", "a{sv}",
            {"state": self.state, "limit": MOST},
        )  # fmt: skip
        return [self.read(row) for row in rows]

    @abstractmethod
    def read(self, row: list[Any]) -> News:
        """News from the struct of Approvals1."""


class Pending(_Approvals):
    """What waits for a yes or a no."""

    name = "pending"
    state = "pending"
    rules = ({"interface": names.APPROVALS, "member": "ApprovalAdded"},)

    def read(self, row: list[Any]) -> News:
        """Who wants what, and why."""
        number, kind, agent = row[:3]
        reason, by, requested = row[-6:-3]
        origin = by if by == names.MANAGER else ""
        return news(
            "approval", number, f"{kind} of {agent} waits for approval {number}",
            f"{by}: {reason}", requested, origin,
        )  # fmt: skip


class Failed(_Approvals):
    """What was approved and did not come to be."""

    name = "failed"
    state = "failed"
    rules = ({"interface": names.APPROVALS, "member": "ApprovalResolved"},)

    def concerns(self, signal: Signal) -> bool:
        """Most that is resolved has not failed."""
        return signal.args[2:3] == [self.state]

    def read(self, row: list[Any]) -> News:
        """What failed, and why."""
        number, kind, agent = row[:3]
        note, resolved = row[-2:]
        return news("deploy-failed", number, f"{kind} of {agent} failed", note, resolved)


class Questions(Source):
    """What the operator is asked."""

    name = "questions"
    service = names.BROKER
    rules = ({"interface": names.BROKER, "member": "QuestionAdded", "arg0": names.OPERATOR},)

    async def fetch(self, bus: Bus, after: int) -> list[News]:
        """Those that are open."""
        wanted = {"to": names.OPERATOR, "state": "open", "after": U64(after)}
        rows = await _ask_broker(bus, "ListQuestions", wanted)
        return [self._read(row) for row in rows]

    @staticmethod
    def _read(row: list[Any]) -> News:
        number, asker, _, text, choices, _, asked = row[:7]
        options = "\n".join(f"{index}  {choice}" for index, choice in enumerate(choices, 1))
        origin = "" if asker == names.OPERATOR else asker
        return news(
            "question", number, f"{asker} asks you ({number})", f"{text}\n{options}", asked, origin
        )


class Messages(Source):
    """What the hive itself tells the operator: given up containers, missing logins, reminders."""

    name = "messages"
    service = names.BROKER
    rules = ({"interface": names.BROKER, "member": "MessageQueued", "arg0": names.OPERATOR},)

    def concerns(self, signal: Signal) -> bool:
        """What agents write to the operator waits in the inbox."""
        return signal.args[2:3] == [names.SYSTEM]

    async def fetch(self, bus: Bus, after: int) -> list[News]:
        """Those that are not done."""
        wanted = {"to": names.OPERATOR, "from": names.SYSTEM, "after": U64(after)}
        rows = await _ask_broker(bus, "ListMessages", wanted)
        return [self._read(row) for row in rows if row[9] in ("queued", "leased")]

    @staticmethod
    def _read(row: list[Any]) -> News:
        number, _, _, kind, body, queued = row[:6]
        event: Event = "crash" if kind == _CRASH else "notice"
        return news(event, number, f"{kind}: message {number} for you", body, queued)


async def _ask_broker(bus: Bus, member: str, wanted: Mapping[str, Any]) -> list[list[Any]]:
    rows: list[list[Any]] = await bus.call1(
        names.BROKER, names.BROKER_PATH, names.BROKER, member, "a{sv}u", wanted, MOST
    )
    return rows


SOURCES: Final[Sequence[Source]] = (Pending(), Failed(), Questions(), Messages())
