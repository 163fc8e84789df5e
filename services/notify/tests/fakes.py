"""Fakes of the broker and approvals, as far as notify calls them."""

# ruff: noqa: N802 - D-Bus members are PascalCase

import asyncio
from typing import Annotated, Any, TypeAlias

from wire import names
from wire.bus import Bus
from wire.interface import Interface, method, signal
from wire.principal import service
from wire.types import Dict, Messages, Questions, Signature, Str, UInt32, UInt64

Approvals: TypeAlias = Annotated[list[list[Any]], Signature("a(tsssssxssx)")]
NOW = 1_780_000_000_000_000
NOTIFY = service("notify")


class Looked:
    """The lists that were asked for."""

    def __init__(self) -> None:
        self.lists: set[str] = set()
        self.all = asyncio.Event()

    def at(self, what: str) -> None:
        self.lists.add(what)
        if self.lists >= {"messages", "questions", "pending", "failed"}:
            self.all.set()


class FakeBroker(Interface, name=names.BROKER):
    def __init__(self, looked: Looked) -> None:
        self.looked = looked
        self.messages: list[list[Any]] = []
        self.questions: list[list[Any]] = []

    def tell(self, sender: str, kind: str, body: str) -> int:
        number = len(self.messages) + 1
        head = [number, sender, "operator", kind, body, NOW + number]
        self.messages.append([*head, 0, False, 0, "queued", "", False])
        return number

    def say(self, sender: str, kind: str, body: str) -> None:
        self.MessageQueued("operator", self.tell(sender, kind, body), sender, kind)

    def ask(self, asker: str, text: str, *choices: str) -> int:
        number = len(self.questions) + 1
        head = [number, asker, "operator", text, list(choices), False, NOW + number]
        self.questions.append([*head, 0, "open", [], "", 0])
        return number

    def wonder(self, asker: str, text: str, *choices: str) -> None:
        self.QuestionAdded("operator", self.ask(asker, text, *choices), asker)

    def _answer(self, rows: list[list[Any]], wanted: dict[str, Any], state: int) -> list[list[Any]]:
        assert wanted["to"] == "operator"
        return [
            row
            for row in rows
            if row[0] > wanted["after"]
            and row[1] == wanted.get("from", row[1])
            and row[state] == wanted.get("state", row[state])
        ]

    @method(allow=NOTIFY)
    async def ListMessages(self, filter: Dict, limit: UInt32) -> Messages:
        self.looked.at("messages")
        return self._answer(self.messages, filter, 9)

    @method(allow=NOTIFY)
    async def ListQuestions(self, filter: Dict, limit: UInt32) -> Questions:
        self.looked.at("questions")
        return self._answer(self.questions, filter, 8)

    @signal()
    def MessageQueued(self, to: Str, id: UInt64, sender: Str, kind: Str) -> None: ...

    @signal()
    def QuestionAdded(self, to: Str, id: UInt64, sender: Str) -> None: ...


class FakeApprovals(Interface, name=names.APPROVALS):
    def __init__(self, looked: Looked) -> None:
        self.looked = looked
        self.rows: list[list[Any]] = []

    def add(self, kind: str, agent: str, reason: str) -> int:
        number = len(self.rows) + 1
        self.rows.append([number, kind, agent, "c0ffee", reason, "manager", NOW, "pending", "", 0])
        return number

    def request(self, kind: str, agent: str, reason: str) -> None:
        self.ApprovalAdded(agent, self.add(kind, agent, reason), kind)

    def resolve(self, number: int, state: str, note: str) -> None:
        row = self.rows[number - 1]
        row[7:] = [state, note, NOW + 1]
        self.ApprovalResolved(row[2], number, state)

    @method(allow=NOTIFY)
    async def List(self, filter: Dict) -> Approvals:
        self.looked.at(filter["state"])
        return [row for row in self.rows if row[7] == filter["state"]]

    @signal()
    def ApprovalAdded(self, agent: Str, id: UInt64, kind: Str) -> None: ...

    @signal()
    def ApprovalResolved(self, agent: Str, id: UInt64, state: Str) -> None: ...


class FakeHive:
    """Both fakes, each on its own connection."""

    def __init__(self) -> None:
        self.looked = Looked()
        self.broker = FakeBroker(self.looked)
        self.approvals = FakeApprovals(self.looked)

    async def serve_broker(self, bus: Bus) -> None:
        bus.export(names.BROKER_PATH, self.broker)
        await bus.own(names.BROKER)

    async def serve_approvals(self, bus: Bus) -> None:
        bus.export(names.APPROVALS_PATH, self.approvals)
        await bus.own(names.APPROVALS)
