"""Match rules, and subscriptions that own theirs. Use it through wire.bus:

async with bus.subscribe(interface="org.freedesktop.machine1.Manager") as signals:
    async for signal in signals: signal.member, signal.args

handle = await bus.on_signal(callback, member="JobRemoved", sender=names.LIFECYCLE)
await handle.close()
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Final, Protocol

from wire.caller import Caller
from wire.errors import HiveError, Unavailable
from wire.message import Message
from wire.types import Value

log = logging.getLogger(__name__)

DAEMON: Final = "org.freedesktop.DBus"
DAEMON_PATH: Final = "/org/freedesktop/DBus"


_NOT_KNOWN_YET: Final = "?"
"""The owner of a name while the daemon is being asked; it is not a valid unique name."""


@dataclass(frozen=True, slots=True)
class Signal:
    """A received signal; `args` are plain values, `sender` is a unique name."""

    sender: str
    path: str
    interface: str
    member: str
    args: list[Value]


@dataclass(frozen=True, slots=True)
class Rule:
    """A match rule; a field that is None matches everything. `sender` may be a well-known name:
    the rule then follows its owner."""

    sender: str | None = None
    path: str | None = None
    path_namespace: str | None = None
    interface: str | None = None
    member: str | None = None
    arg0: str | None = None

    def __str__(self) -> str:
        """Return the rule in the form of the bus daemon."""
        fields = {key: getattr(self, key) for key in self.__slots__}
        wanted = [f"{key}='{value}'" for key, value in fields.items() if value is not None]
        return ",".join(["type='signal'", *wanted])

    def matches(self, message: Message, owner: str | None) -> bool:
        """Return whether `message` matches, when `owner` owns the name `sender` now."""
        return self.matches_header(message, owner) and (
            self.arg0 is None or message.body[:1] == [self.arg0]
        )

    def matches_header(self, message: Message, owner: str | None) -> bool:
        """Return whether `message` may match, as far as its header shows."""
        return (
            (self.sender is None or message.sender in (self.sender, owner))
            and (self.path is None or message.path == self.path)
            and (self.path_namespace is None or _is_below(message.path, self.path_namespace))
            and (self.interface is None or message.interface == self.interface)
            and (self.member is None or message.member == self.member)
        )


def _is_below(path: str, namespace: str) -> bool:
    return path == namespace or namespace == "/" or path.startswith(namespace + "/")


class Sends(Caller, Protocol):
    """The part of a bus that a subscription needs."""

    def tell_daemon(self, member: str, value: str) -> None:
        """Call the bus daemon; ignore the answer."""


class Subscription:
    """A match rule with its callback, until it is closed."""

    def __init__(self, router: "Router", rule: Rule, callback: Callable[[Signal], None]) -> None:
        self.rule = rule
        self.callback = callback
        self._router = router

    async def close(self) -> None:
        """Remove the rule; the callback is not called any more. Closing twice does nothing."""
        self._router.remove(self)


class Router:
    """The way of each received signal to the subscriptions whose rules match."""

    def __init__(self, bus: Sends) -> None:
        self._bus = bus
        self._subscriptions: list[Subscription] = []
        self._owners: dict[str, str | None] = {}
        self._following = asyncio.Lock()

    async def add(self, rule: Rule, callback: Callable[[Signal], None]) -> Subscription:
        """Subscribe; from the return on, no matching signal is missed."""
        subscription = Subscription(self, rule, callback)
        with ExitStack() as undo:
            self._subscriptions.append(subscription)
            undo.callback(self._subscriptions.remove, subscription)
            await self._match(str(rule))
            undo.callback(self._unmatch, str(rule))
            if rule.sender is not None and _is_well_known(rule.sender):
                await self._follow(rule.sender)
            undo.pop_all()
        return subscription

    def remove(self, subscription: Subscription) -> None:
        """See Subscription.close."""
        if subscription not in self._subscriptions:
            return
        self._subscriptions.remove(subscription)
        self._unmatch(str(subscription.rule))
        sender = subscription.rule.sender
        if sender in self._owners and all(s.rule.sender != sender for s in self._subscriptions):
            del self._owners[sender]
            self._unmatch(_owner_rule(sender))

    def wants(self, message: Message) -> bool:
        """Return whether a rule may match a signal of which only the header is decoded.

        Anybody may send a signal to us; the body of one that nobody waits for is not decoded.
        """
        return any(
            subscription.rule.matches_header(
                message, self._owners.get(subscription.rule.sender or "")
            )
            for subscription in self._subscriptions
        )

    def deliver(self, message: Message) -> None:
        """Call the callbacks whose rules match; one that raises does not stop the others."""
        if message.sender == DAEMON and message.member == "NameOwnerChanged":
            name, _, owner = message.body
            if name in self._owners:
                self._owners[name] = owner or None
        signal: Signal | None = None
        for subscription in tuple(self._subscriptions):
            rule = subscription.rule
            if not rule.matches(message, self._owners.get(rule.sender or "")):
                continue
            signal = signal or Signal(
                message.sender,
                message.path,
                message.interface,
                message.member,
                message.body,
            )
            try:
                subscription.callback(signal)
            except Exception:
                log.exception("a handler of the signal %s failed", signal.member)

    async def _follow(self, name: str) -> None:
        """Follow the owner of `name`, because signals carry unique names only."""
        async with self._following:  # a second caller waits until the owner is known
            if name in self._owners:
                return
            with ExitStack() as undo:
                self._owners[name] = _NOT_KNOWN_YET
                undo.callback(self._owners.pop, name)
                # Subscribe first, then ask: else a change in between would be missed.
                await self._match(_owner_rule(name))
                undo.callback(self._unmatch, _owner_rule(name))
                owner = await self._owner_of(name)
                undo.pop_all()
            if self._owners[name] == _NOT_KNOWN_YET:  # else it has changed since
                self._owners[name] = owner

    async def _owner_of(self, name: str) -> str | None:
        try:
            [owner] = await self._ask_daemon("GetNameOwner", name)
        except Unavailable:
            return None
        return str(owner)

    async def _match(self, rule: str) -> None:
        """Add `rule` at the daemon; if the caller is cancelled, remove the rule again.

        The daemon allows 512 rules, and a rule without an owner would stay for good.
        """
        matching = asyncio.create_task(self._ask_daemon("AddMatch", rule), name="add-match")
        try:
            await asyncio.shield(matching)
        except asyncio.CancelledError:
            matching.add_done_callback(lambda done: self._undo_match(done, rule))
            raise

    def _undo_match(self, matching: "asyncio.Task[list[Value]]", rule: str) -> None:
        if not matching.cancelled() and matching.exception() is None:
            self._unmatch(rule)

    def _unmatch(self, rule: str) -> None:
        """Remove `rule` without waiting for the answer. A bus that is gone has no rules."""
        with suppress(HiveError):
            self._bus.tell_daemon("RemoveMatch", rule)

    async def _ask_daemon(self, member: str, value: str) -> list[Value]:
        return await self._bus.call(DAEMON, DAEMON_PATH, DAEMON, member, "s", value)


def _is_well_known(name: str) -> bool:
    return not name.startswith(":") and name != DAEMON


def _owner_rule(name: str) -> str:
    rule = Rule(sender=DAEMON, interface=DAEMON, member="NameOwnerChanged", arg0=name)
    return str(rule)


class SignalStream:
    """The signals of one subscription, for `async for`; Bus.subscribe makes it."""

    def __init__(self, disconnected: "asyncio.Future[Exception | None]") -> None:
        self._queue: asyncio.Queue[Signal | None] = asyncio.Queue()
        self._disconnected = disconnected
        disconnected.add_done_callback(self._on_disconnect)

    def put(self, signal: Signal) -> None:
        """Add a signal."""
        self._queue.put_nowait(signal)

    def close(self) -> None:
        """Stop watching the connection."""
        self._disconnected.remove_done_callback(self._on_disconnect)

    def _on_disconnect(self, _: "asyncio.Future[Exception | None]") -> None:
        self._queue.put_nowait(None)

    def __aiter__(self) -> "SignalStream":
        return self

    async def __anext__(self) -> Signal:
        """Return the next signal; raise Unavailable when the connection is lost."""
        signal = await self._queue.get()
        if signal is None:
            self._queue.put_nowait(None)
            raise Unavailable("The connection to the bus was lost.")
        return signal
