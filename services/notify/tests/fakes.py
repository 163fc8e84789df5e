"""Fakes of the broker, approvals and the ledger, as far as notify calls them."""

# ruff: noqa: N802 - D-Bus members are PascalCase

import asyncio
import os
from base64 import urlsafe_b64encode
from collections import Counter
from typing import Any

import http_ece
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from wire import names
from wire.bus import Bus
from wire.interface import Interface, method, signal
from wire.principal import service
from wire.records import decode, to_dict
from wire.records.approvals import Approval, ApprovalFilter, ApprovalKind, ApprovalState
from wire.records.broker import (
    Message,
    MessageFilter,
    MessageState,
    Question,
    QuestionFilter,
    QuestionState,
)
from wire.records.dashboard import PushTarget
from wire.records.ledger import Egress, EgressFilter, EgressState
from wire.types import Dict, Str, UInt32, UInt64

NOW = 1_780_000_000_000_000
NOTIFY = service("notify")
LISTS = ("messages", "mail", "questions", "pending", "failed", "egress")


class Looked:
    """The lists that were asked for, and how often."""

    def __init__(self) -> None:
        self.times: Counter[str] = Counter()
        self._changed = asyncio.Condition()

    async def at(self, name: str) -> None:
        async with self._changed:
            self.times[name] += 1
            self._changed.notify_all()

    async def until_asked(self, times: int) -> None:
        """Wait until each list was asked for so many times."""
        async with self._changed:
            await self._changed.wait_for(lambda: all(self.times[name] >= times for name in LISTS))


class FakeBroker(Interface, name=names.BROKER):
    def __init__(self, looked: Looked) -> None:
        self.looked = looked
        self.messages: list[Message] = []
        self.questions: list[Question] = []

    def tell(
        self, sender: str, kind: str, body: str, state: MessageState = MessageState.QUEUED
    ) -> int:
        """Add a message to the operator, without a signal."""
        number = len(self.messages) + 1
        self.messages.append(
            Message(
                id=number,
                sender=sender,
                recipient="operator",
                kind=kind,
                body=body,
                queued=NOW + number,
                redeliveries=0,
                urgent=False,
                in_reply_to=0,
                state=state,
            )
        )
        return number

    def say(self, sender: str, kind: str, body: str) -> None:
        """Send a message to the operator."""
        self.OperatorMessageQueued(sender, self.tell(sender, kind, body), kind)

    def ask(
        self, asker: str, text: str, *choices: str, state: QuestionState = QuestionState.OPEN
    ) -> int:
        """Add a question to the operator, without a signal."""
        number = len(self.questions) + 1
        self.questions.append(
            Question(
                id=number,
                asker=asker,
                recipient="operator",
                text=text,
                choices=list(choices),
                multi=False,
                asked=NOW + number,
                deadline=0,
                state=state,
                answer=[],
                answered_by="",
                resolved=0,
            )
        )
        return number

    def wonder(self, asker: str, text: str, *choices: str) -> None:
        """Ask the operator."""
        self.QuestionAdded("operator", self.ask(asker, text, *choices), asker)

    @method(allow=NOTIFY)
    async def ListMessages(self, filter: Dict, limit: UInt32) -> list[Message]:
        wanted = decode(MessageFilter, filter)
        await self.looked.at("messages" if wanted.sender else "mail")
        assert wanted.recipient == "operator"
        return [
            one
            for one in self.messages
            if one.id > (wanted.after or 0) and wanted.sender in (None, one.sender)
        ]

    @method(allow=NOTIFY)
    async def ListQuestions(self, filter: Dict, limit: UInt32) -> list[Question]:
        await self.looked.at("questions")
        wanted = decode(QuestionFilter, filter)
        assert wanted.recipient == "operator"
        return [
            one
            for one in self.questions
            if one.id > (wanted.after or 0) and wanted.state in (None, one.state)
        ]

    @signal()
    def OperatorMessageQueued(self, sender: Str, id: UInt64, kind: Str) -> None: ...

    @signal()
    def QuestionAdded(self, to: Str, id: UInt64, sender: Str) -> None: ...


class FakeApprovals(Interface, name=names.APPROVALS):
    def __init__(self, looked: Looked) -> None:
        self.looked = looked
        self.requests: list[Approval] = []

    def add(self, kind: str, agent: str, reason: str) -> int:
        """Add a request, without a signal."""
        number = len(self.requests) + 1
        self.requests.append(
            Approval(
                id=number,
                kind=ApprovalKind(kind),
                agent=agent,
                commit="c0ffee",
                reason=reason,
                requested_by="manager",
                requested=NOW,
                state=ApprovalState.PENDING,
                note="",
                resolved=0,
            )
        )
        return number

    def request(self, kind: str, agent: str, reason: str) -> None:
        """Request a change."""
        self.ApprovalAdded(agent, self.add(kind, agent, reason), kind)

    def resolve(self, number: int, state: str, note: str) -> None:
        """Resolve a request."""
        self.requests[number - 1] = request = self.requests[number - 1]._replace(
            state=ApprovalState(state), note=note, resolved=NOW + 1
        )
        self.ApprovalResolved(request.agent, number, state)

    @method(allow=NOTIFY)
    async def List(self, filter: Dict) -> list[Approval]:
        wanted = decode(ApprovalFilter, filter)
        assert wanted.state is not None
        await self.looked.at(wanted.state)
        return [one for one in self.requests if one.state == wanted.state]

    @signal()
    def ApprovalAdded(self, agent: Str, id: UInt64, kind: Str) -> None: ...

    @signal()
    def ApprovalResolved(self, agent: Str, id: UInt64, state: Str) -> None: ...


class FakeLedger(Interface, name=names.LEDGER):
    def __init__(self, looked: Looked) -> None:
        self.looked = looked
        self.hosts: list[Egress] = []

    def add(self, agent: str, host: str, **values: Any) -> Egress:
        """Refuse a host to an agent, without a signal."""
        known = [entry for entry in self.hosts if entry[:2] == (agent, host)]
        number = len(self.hosts)
        first = Egress(agent, host, 443, EgressState.PENDING, NOW + number, NOW + number)
        entry = (known or [first])[0]._replace(**values)
        entry = entry._replace(refused=entry.refused + 1)
        self.hosts = [one for one in self.hosts if one[:2] != (agent, host)] + [entry]
        return entry

    def refuse(self, agent: str, host: str, **values: Any) -> None:
        """Refuse a host to an agent, once more."""
        self.EgressChanged(to_dict(self.add(agent, host, **values)))

    @method(allow=NOTIFY)
    async def ListEgress(self, filter: Dict, limit: UInt32) -> list[Egress]:
        await self.looked.at("egress")
        wanted = decode(EgressFilter, filter)
        return [one for one in self.hosts if one.state == wanted.state]

    @signal()
    def EgressChanged(self, host: Dict) -> None: ...


class FakeDashboard(Interface, name=names.DASHBOARD):
    """The dashboard, with browsers whose push service is a hook of the test."""

    def __init__(self) -> None:
        self.targets: list[PushTarget] = []
        self.key = ec.generate_private_key(ec.SECP256R1())
        self._browser = ec.generate_private_key(ec.SECP256R1())
        self._secret = os.urandom(16)
        self._changed = asyncio.Condition()

    def add(self, endpoint: str, *events: str) -> None:
        """Add a browser."""
        public = self._browser.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )
        keys = base64url(public), base64url(self._secret)
        number = len(self.targets) + 1
        self.targets.append(PushTarget(number, f"{endpoint}/s3cret", *keys, list(events)))
        self.PushTargetsChanged()

    def decrypted(self, body: bytes) -> bytes:
        """Return what a browser reads."""
        text: bytes = http_ece.decrypt(
            body, private_key=self._browser, auth_secret=self._secret, version="aes128gcm"
        )
        return text

    async def until_forgotten(self, number: int) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: number not in [one.id for one in self.targets])

    @method(allow=NOTIFY)
    async def PushKey(self) -> Str:
        return base64url(self.key.private_numbers().private_value.to_bytes(32))

    @method(allow=NOTIFY)
    async def ListPushTargets(self) -> list[PushTarget]:
        return self.targets

    @method(allow=NOTIFY)
    async def ForgetPushTarget(self, id: UInt64) -> None:
        async with self._changed:
            self.targets = [one for one in self.targets if one.id != id]
            self._changed.notify_all()

    @signal()
    def PushTargetsChanged(self) -> None: ...


def base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


class FakeHive:
    """The fakes, each on its own connection."""

    def __init__(self) -> None:
        self.looked = Looked()
        self.broker = FakeBroker(self.looked)
        self.approvals = FakeApprovals(self.looked)
        self.ledger = FakeLedger(self.looked)

    def announce_changes(self) -> None:
        """Emit the signal of each list, though the lists have not changed."""
        self.broker.OperatorMessageQueued("system", 0, "message")
        self.broker.OperatorMessageQueued("alice", 0, "message")
        self.broker.QuestionAdded("operator", 0, "alice")
        self.approvals.ApprovalAdded("alice", 0, "apply")
        self.approvals.ApprovalResolved("alice", 0, "failed")
        entry = Egress("alice", "unknown.example", 443, EgressState.PENDING, NOW, NOW)
        self.ledger.EgressChanged(to_dict(entry))

    async def serve_broker(self, bus: Bus) -> None:
        bus.export(names.BROKER_PATH, self.broker)
        await bus.own(names.BROKER)

    async def serve_approvals(self, bus: Bus) -> None:
        bus.export(names.APPROVALS_PATH, self.approvals)
        await bus.own(names.APPROVALS)

    async def serve_ledger(self, bus: Bus) -> None:
        bus.export(names.LEDGER_PATH, self.ledger)
        await bus.own(names.LEDGER)
