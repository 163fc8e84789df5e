"""All events, in one place, in the order of their arrival; waiters wait here."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol

from bench.chaos.evidence import Disturbance, Done, Evidence, LetGo, Lost, Seen, Sent, Told
from bench.chaos.notes import Call, Kind, Note
from wire import names
from wire.caller import Caller
from wire.clients.systemd import SYSTEMD_PATH, ManagerClient
from wire.records import decode_all
from wire.records.broker import MessageChange, MessageState
from wire.signals import DAEMON, Signal

AGENTS: Final = ("alice", "bob")
INBOXES: Final = (*AGENTS, names.OPERATOR)

_LETS_GO: Final = frozenset({Kind.ACKNOWLEDGING, Kind.RELEASING, Kind.LEAVING})


@dataclass(frozen=True, slots=True)
class Event:
    """An event: its kind, its subject, and the new value if a property has changed."""

    what: str
    whom: str = ""
    value: object = None


Test = Callable[[Event], bool]


class Listens(Caller, Protocol):
    """The part of the bus that the observer needs."""

    async def on_signal(self, callback: Callable[[Signal], None], **rule: str) -> object:
        """See wire.bus.Bus.on_signal."""


class StalledError(Exception):
    """A required event did not happen in time."""


class Observer:
    """Listens to the bus and the clients, keeps the evidence, and wakes waiters."""

    def __init__(self) -> None:
        self.evidence = Evidence()
        self.acknowledging: set[str] = set()
        self.news = asyncio.Event()
        """Set when an inbox may have become shorter, or the broker is back."""
        self.dead: list[int] = []
        """The dead letters that nobody has looked at yet."""
        self._held: dict[int, tuple[int, str]] = {}
        # The redeliveries and the holder of each message. The holder is the inbox, until a client
        # of ours has seen the message.
        self._signals = 0
        self._waiting: list[tuple[Test, asyncio.Future[Event]]] = []

    @property
    def holders(self) -> set[str]:
        """The holders of messages now: inboxes, or clients of ours."""
        return {holder for _, holder in self._held.values()}

    async def listen(self, bus: Listens) -> None:
        """Subscribe to all signals of interest."""
        await bus.on_signal(self._broker_said, path=names.BROKER_PATH, interface=names.BROKER)
        await bus.on_signal(
            self._owner_changed, sender=DAEMON, interface=DAEMON, member="NameOwnerChanged"
        )
        await bus.on_signal(
            self._agent_changed, path_namespace=names.LIFECYCLE_PATH, interface=names.PROPERTIES
        )
        await bus.on_signal(
            self._unit_changed, path_namespace=f"{SYSTEMD_PATH}/unit", interface=names.PROPERTIES
        )
        await ManagerClient(bus).subscribe()

    async def until(self, test: Test, seconds: float, what: str) -> Event:
        """Return the next event that passes `test`. Raises StalledError after `seconds`."""
        future: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        self._waiting.append((test, future))
        try:
            async with asyncio.timeout(seconds):
                return await future
        except TimeoutError:
            raise StalledError(f"{what}: nothing for {seconds:.0f} s") from None
        finally:
            self._waiting = [entry for entry in self._waiting if entry[1] is not future]

    def happened(self, what: str, whom: str = "", value: object = None) -> None:
        """Wake the waiters for this event."""
        event = Event(what, whom, value)
        for test, future in self._waiting:
            if not future.done() and test(event):
                future.set_result(event)

    @contextmanager
    def disturbance(self) -> Iterator[None]:
        """Note the time of the body, which kills, and waits until the hive has gone on."""
        disturbance = Disturbance(time.time_ns())
        self.evidence.disturbances.append(disturbance)
        yield
        disturbance.ended = time.time_ns()

    # The clients

    def noted(self, client: str, note: Note) -> None:
        """Take a note that a client has written."""
        evidence, at = self.evidence, note.at
        if note.kind in _LETS_GO:
            again = note.kind is not Kind.ACKNOWLEDGING
            evidence.let_go += [LetGo(client, at, id, again) for id in note.ids]
        match note.kind:
            case Kind.SEEN:
                [id] = note.ids
                evidence.seen.append(Seen(client, at, id, note.count, note.body))
                self._hold(id, note.count, client.partition(" ")[0])
            case Kind.ACKNOWLEDGING:
                self.acknowledging.add(client)
            case Kind.ACKNOWLEDGED:
                self.acknowledging.discard(client)
                evidence.done += [Done(client, at, id) for id in note.ids]
            case Kind.SENDING:
                self._said(note.call).setdefault(note.key, Sent(note.body, at))
            case Kind.SENT:
                sent = self._said(note.call)[note.key]
                sent.ids += note.ids
                sent.returned = sent.returned or at
            case Kind.FAILED | Kind.GONE:
                self.acknowledging.discard(client)
        self.happened(note.kind, client)

    def _said(self, call: Call) -> dict[str, Sent]:
        evidence = self.evidence
        return {
            Call.SEND: evidence.sent,
            Call.ASK: evidence.asked,
            Call.REMIND: evidence.reminded,
        }[call]

    def ended(self, name: str) -> None:
        """Note that a client process has ended."""
        self.acknowledging = {one for one in self.acknowledging if not one.startswith(name)}
        self.happened("ended", name)

    # The bus

    def _broker_said(self, signal: Signal) -> None:
        if signal.member != "MessagesChanged":
            self.news.set()
            return
        self._signals += 1
        [rows] = signal.args
        for change in decode_all(MessageChange, rows):
            self._changed(change)

    def _changed(self, change: MessageChange) -> None:
        id, state, to, count = change.id, change.state, change.recipient, change.redeliveries
        self.evidence.told.append(Told(id, state, to, count, self._signals))
        if state is MessageState.LEASED:
            self._hold(id, count, to)
        elif state is not MessageState.QUEUED or count > self._held.get(id, (0, ""))[0]:
            self._held.pop(id, None)
        if state is MessageState.DEAD:
            self.dead.append(id)
        if state in (MessageState.DEAD, MessageState.ACKNOWLEDGED):
            self.news.set()
        self.happened(state, to)

    def _hold(self, id: int, count: int, holder: str) -> None:
        """Note the holder. A client may tell of a hand-out before the broker, or after it."""
        known = self._held.get(id)
        if known is None or count > known[0] or (count == known[0] and holder not in INBOXES):
            self._held[id] = count, holder

    def _owner_changed(self, signal: Signal) -> None:
        name, _, owner = signal.args
        if name == names.BROKER and not owner:
            self.evidence.told.append(Lost())
            self._held.clear()
        if name == names.BROKER and owner:
            self.news.set()
        if not name.startswith(":"):
            self.happened("appeared" if owner else "lost", name)

    def _agent_changed(self, signal: Signal) -> None:
        _interface, changed, _invalidated = signal.args
        agent = signal.path.rpartition("/")[2]
        for name, value in changed.items():
            self.happened(name, agent, value)

    def _unit_changed(self, signal: Signal) -> None:
        _interface, changed, _invalidated = signal.args
        if state := changed.get("ActiveState"):
            self.happened("unit", signal.path.rpartition("/")[2], state)
