"""All events, in one place, in the order of their arrival; waiters wait here."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from bench.chaos.evidence import Done, Evidence, Said, Seen, Sent, Told
from wire import names
from wire.bus import Bus
from wire.clients.systemd import SYSTEMD_PATH, ManagerClient
from wire.records import decode_all
from wire.records.broker import MessageChange, MessageState
from wire.signals import DAEMON, Signal

SAID: Final = {
    MessageState.QUEUED: Said.QUEUED,
    MessageState.LEASED: Said.DELIVERED,
    MessageState.ACKNOWLEDGED: Said.ACKNOWLEDGED,
    MessageState.DEAD: Said.PARKED,
}


@dataclass(frozen=True, slots=True)
class Event:
    """An event: its kind, its subject, and further details."""

    what: str
    whom: str = ""
    detail: dict[str, Any] = field(default_factory=dict)


Test = Callable[[Event], bool]


class StalledError(Exception):
    """A required event did not happen in time."""


class Observer:
    """Listens to the bus and the clients, keeps the evidence, and wakes waiters."""

    def __init__(self) -> None:
        self.evidence = Evidence()
        self.held: dict[int, str] = {}
        """The holder of each message: the inbox, until a client of ours has seen it."""
        self.acknowledging: set[str] = set()
        self.news = asyncio.Event()
        """Set when an inbox may have become shorter, or the broker is back."""
        self.parked: list[int] = []
        self._waiting: list[tuple[Test, asyncio.Future[Event]]] = []

    async def listen(self, bus: Bus) -> None:
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

    def happened(self, what: str, whom: str = "", **detail: object) -> None:
        """Wake the waiters for this event."""
        event = Event(what, whom, detail)
        for test, future in self._waiting:
            if not future.done() and test(event):
                future.set_result(event)

    # The clients

    def noted(self, client: str, line: dict[str, Any]) -> None:
        """Take a line that a client has written."""
        evidence, at = self.evidence, line["at"]
        match line["note"]:
            case "seen":
                evidence.seen.append(Seen(client, at, line["id"], line["count"], line["body"]))
                if line["id"] in self.held:
                    self.held[line["id"]] = client.partition(" ")[0]
            case "acknowledging":
                self.acknowledging.add(client)
            case "acknowledged":
                self.acknowledging.discard(client)
                evidence.done += [Done(client, at, id) for id in line["ids"]]
            case "sending":
                self._said(line).setdefault(line["key"], Sent(line["body"], at))
            case "sent":
                sent = self._said(line)[line["key"]]
                sent.ids.append(line["id"])
                sent.returned = sent.returned or at
            case "failed" | "gone":
                self.acknowledging.discard(client)
        self.happened(line["note"], client)

    def _said(self, line: dict[str, Any]) -> dict[str, Sent]:
        evidence = self.evidence
        said = {"Send": evidence.sent, "Ask": evidence.asked, "Remind": evidence.reminded}
        return said[line["what"]]

    def ended(self, name: str) -> None:
        """Note that a client process has ended."""
        self.acknowledging = {one for one in self.acknowledging if not one.startswith(name)}
        self.happened("ended", name)

    # The bus

    def _broker_said(self, signal: Signal) -> None:
        match signal.args:
            case [list(rows)]:
                for change in decode_all(MessageChange, rows):
                    self._message_changed(change)
            case [whom, *_]:
                self.news.set()
                self.happened(signal.member, whom)

    def _message_changed(self, change: MessageChange) -> None:
        if change.state not in SAID:
            return  # dropped
        said, id, to = SAID[change.state], change.id, change.recipient
        self.evidence.told.append(Told(said, id, to, change.redeliveries))
        if said is Said.DELIVERED:
            self.held[id] = to
        else:
            self.held.pop(id, None)
        if said is Said.PARKED:
            self.parked.append(id)
        if said in (Said.PARKED, Said.ACKNOWLEDGED):
            self.news.set()
        self.happened(said, to, id=id)

    def _owner_changed(self, signal: Signal) -> None:
        name, _, owner = signal.args
        if name == names.BROKER and not owner:
            self.evidence.told.append(Told(Said.LOST))
            self.held.clear()
        if name == names.BROKER and owner:
            self.news.set()
        if not name.startswith(":"):
            self.happened("appeared" if owner else "lost", name)

    def _agent_changed(self, signal: Signal) -> None:
        agent = signal.path.rpartition("/")[2]
        for name, value in signal.args[1].items():
            self.happened(name, agent, value=value)

    def _unit_changed(self, signal: Signal) -> None:
        if state := signal.args[1].get("ActiveState"):
            self.happened("unit", signal.path.rpartition("/")[2], state=state)
