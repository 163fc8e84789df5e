"""The broker's promises as a model in a few lines: no disk, no bus, no concurrency."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from services.config import BrokerConfig
from wire.errors import Conflict, HiveError, NotFound
from wire.records.broker import Message, MessageState

CONFIG: Final = BrokerConfig(
    max_redeliveries=1, agent_messages_per_hour=10**6, max_open_questions=1000, loop_messages=0
)
TRIES: Final = CONFIG.max_redeliveries + 1
AGENTS: Final = ("alice", "bob")
PARTIES: Final = (*AGENTS, "operator")


@dataclass
class Expected:
    """A message in the model."""

    id: int
    sender: str
    recipient: str
    body: str | None
    """None if the broker wrote the text."""
    origin: str
    round: int
    deliveries: int = 0
    forgiven: int = 0
    state: MessageState = MessageState.QUEUED
    holder: str = ""

    @property
    def failed(self) -> int:
        """The number of hand-outs since the message was sent, or requeued by the operator."""
        return self.deliveries - self.forgiven

    def come_back(self) -> None:
        self.holder = ""
        self.state = MessageState.DEAD if self.failed >= TRIES else MessageState.QUEUED

    def shown(self) -> tuple[object, ...]:
        over = self.state in (MessageState.LEASED, MessageState.ACKNOWLEDGED)
        redeliveries = max(0, self.deliveries - over)
        return (self.id, self.sender, self.recipient, self.body, redeliveries, self.state)


@dataclass
class Seen:
    """The messages that callers have seen; it does not use the model."""

    handed_out: set[tuple[int, int]] = field(default_factory=set)
    first_time: dict[tuple[str, str], int] = field(default_factory=dict)
    acknowledged: set[int] = field(default_factory=set)

    def note(self, messages: Sequence[Message]) -> None:
        for m in messages:
            assert m.id not in self.acknowledged, "an acknowledged message came back"
            assert (m.id, m.redeliveries) not in self.handed_out, "the count has lied"
            if m.redeliveries == 0 and m.sender != "system":
                pair = (m.sender, m.recipient)
                assert m.id > self.first_time.get(pair, 0), "a newer one came first"
                self.first_time[pair] = m.id
            self.handed_out.add((m.id, m.redeliveries))


@dataclass
class Asked:
    """A question in the model; its number is its position."""

    asker: str
    recipient: str
    is_open: bool = True


class Model:
    """All messages, and the effects of each call on them."""

    def __init__(self) -> None:
        self.messages: dict[int, Expected] = {}
        self.keys: dict[tuple[str, str], int] = {}
        self.last = 0
        self.questions: list[Asked] = []
        self.served: dict[tuple[str, str], int] = {}

    def eligible(self, name: str) -> list[Expected]:
        mine = [m for m in self.messages.values() if m.recipient == name]
        queued = (m for m in mine if m.state is MessageState.QUEUED)
        return sorted(queued, key=lambda m: (m.round, m.id))

    def next_round(self, to: str, origin: str) -> int:
        """Return the round of a new message: the current one, or later behind the sender's own."""
        if origin in ("operator", "system"):
            return -2 if origin == "operator" else -1
        waiting = (MessageState.QUEUED, MessageState.LEASED)
        own = [
            m.round
            for m in self.messages.values()
            if (m.recipient, m.origin) == (to, origin) and m.state in waiting
        ]
        current = [n for (recipient, _), n in self.served.items() if recipient == to]
        after_own = max([*own, self.served.get((to, origin), -1)]) + 1
        return max([*current, after_own])

    def hand_out(self, name: str, limit: int, holder: str) -> list[tuple[int, int]]:
        out = self.eligible(name)[:limit]
        for message in out:
            message.deliveries += 1
            message.holder, message.state = holder, MessageState.LEASED
            if message.round >= 0:
                key = (name, message.origin)
                self.served[key] = max(message.round, self.served.get(key, 0))
        return [(m.id, m.deliveries - 1) for m in out]

    def store(
        self,
        sender: str,
        to: str,
        body: str | None,
        key: str | None = None,
        *,
        origin: str | None = None,
    ) -> int:
        """Store a message, or one for each agent; the hive sends some in the turn of `origin`."""
        origin = origin or sender
        if key is not None and (sender, key) in self.keys:
            return self.keys[sender, key]
        recipients = [a for a in AGENTS if a != sender] if to == "*" else [to]
        first = self.last + 1
        for name in recipients:
            self.last += 1
            turn = self.next_round(name, origin)
            self.messages[self.last] = Expected(self.last, sender, name, body, origin, turn)
        if key is not None:
            self.keys[sender, key] = first
        return first

    def acknowledge(self, name: str, holder: str, ids: Sequence[int]) -> type[HiveError] | None:
        refused = False
        unknown = False
        for i in dict.fromkeys(ids):
            message = self.messages.get(i)
            if message is None or message.recipient != name:
                unknown = True
            elif message.state is MessageState.LEASED and message.holder != holder:
                refused = True
            elif message.state in (MessageState.ACKNOWLEDGED, MessageState.DROPPED):
                pass
            elif not message.deliveries and name != "operator":
                refused = True
            else:
                message.state, message.holder = MessageState.ACKNOWLEDGED, ""
        return Conflict if refused else NotFound if unknown else None

    def purge(self, name: str, origin: str | None) -> tuple[int, int]:
        mine = [
            m for m in self.messages.values() if m.recipient == name and origin in (None, m.origin)
        ]
        queued = [m for m in mine if m.state is MessageState.QUEUED]
        for message in queued:
            message.state = MessageState.DROPPED
        return len(queued), sum(m.state is MessageState.LEASED for m in mine)

    def change_dead(self, ids: Sequence[int], state: MessageState) -> type[HiveError] | None:
        dead = [m for m in self.messages.values() if m.id in ids and m.state is MessageState.DEAD]
        for message in dead:
            message.state = state
            message.forgiven = (
                message.deliveries if state is MessageState.QUEUED else message.forgiven
            )
        return NotFound if len(dead) < len(set(ids)) else None

    def ids(self, picks: Sequence[int], inbox: str | None = None) -> list[int]:
        """Return ids of messages, or of messages leased in one inbox, or an id that is not used."""
        found = [m.id for m in self.messages.values() if inbox is None or self._is_out(m, inbox)]
        among = [*(found or self.messages), self.last + 1]
        return [among[pick % len(among)] for pick in picks]

    @staticmethod
    def _is_out(message: Expected, inbox: str) -> bool:
        return message.recipient == inbox and message.state is MessageState.LEASED

    def ask(self, asker: str, to: str) -> int:
        self.questions.append(Asked(asker, to))
        if to in AGENTS:
            self.store("system", to, None, origin=asker)
        return len(self.questions)

    def answer(self, number: int) -> None:
        question = self.questions[number - 1]
        question.is_open = False
        self.store("system", question.asker, None, origin=question.recipient)

    def open_questions(self) -> list[int]:
        return [number for number, q in enumerate(self.questions, 1) if q.is_open]

    def delete_done(self) -> None:
        """Delete all finished messages, as retention does when they are old."""
        over = (MessageState.ACKNOWLEDGED, MessageState.DROPPED)
        for message in [m for m in self.messages.values() if m.state in over]:
            del self.messages[message.id]
        self.keys = {key: i for key, i in self.keys.items() if i in self.messages}

    def end_leases(self, messages: Sequence[Expected]) -> None:
        """End the leases of messages together, and tell the senders of those that died."""
        for message in messages:
            message.come_back()
        dead = [m for m in messages if m.state is MessageState.DEAD]
        for letter in dead:
            if letter.sender not in ("system", "operator"):
                self.store("system", letter.sender, None, origin=letter.recipient)
        for recipient in sorted({letter.recipient for letter in dead} - {"operator"}):
            self.store("system", "operator", None, origin=recipient)

    def forget_leases(self) -> set[int]:
        """End all leases, as a restart does; return the ids of messages that are parked by it."""
        held = [
            m
            for m in self.messages.values()
            if m.state in (MessageState.LEASED, MessageState.QUEUED)
        ]
        self.end_leases(held)
        return {m.id for m in held if m.state is MessageState.DEAD}
