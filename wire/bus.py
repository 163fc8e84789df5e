"""The connection to the bus: calls with time limits, owned subscriptions, exports, a clean end.

    bus = await Bus.connect()
    bus.export(names.BROKER_PATH, Broker1(broker))
    await bus.own(names.BROKER)

    [id] = await bus.call(names.BROKER, names.BROKER_PATH, names.BROKER, "Send", "ssa{sv}",
                          "bob", "hello", {"urgent": True})
    id = await bus.call1(names.BROKER, names.BROKER_PATH, names.BROKER, "Send", "ssa{sv}", ...)

    async with bus.subscribe(sender=names.LIFECYCLE, member="JobRemoved") as signals:
        job = await ...                     # subscribe first, then act
        async for signal in signals: ...

    handle = await bus.on_signal(callback, interface=names.BROKER, arg0="alice")
    await handle.close()
    handle = await bus.on_owner(names.BROKER, came=..., went=...)

    gone = bus.watch_sender(sender())       # a future, done when that connection has left
    lost = await bus.disconnected           # None when we closed it, else the reason
    await bus.close()

All values are plain Python on both sides (see wire.types). What can go wrong is in wire.errors.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Self

from wire import errors, message
from wire.connection import Connection, connect
from wire.encoding import MisfitError
from wire.message import Kind, Message
from wire.signals import DAEMON, DAEMON_PATH, Router, Rule, Signal, SignalStream, Subscription

if TYPE_CHECKING:  # what most of wire is needed for is loaded when there is need: see _serving
    from wire.interface import Interface
    from wire.resolver import Resolver
    from wire.server import Server

CALL_TIMEOUT: Final = 25.0
"""How long a call waits for its answer unless it says otherwise, in seconds."""

_DO_NOT_QUEUE: Final = 4
_OWNED: Final = (1, 4)
_LEFT: Final = "type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg2=''"


class Bus:
    """One connection to a message bus. Made by `Bus.connect`."""

    unique_name: str
    disconnected: asyncio.Future[Exception | None]

    def __init__(self, resolver: "Resolver | None") -> None:
        self._resolver = resolver
        self._connection: Connection
        self._router = Router(self)
        self._server: Server | None = None
        self._watches: dict[str, list[asyncio.Future[None]]] = {}
        self._watches_leavers = False

    @classmethod
    async def connect(cls, address: str | None = None, resolver: "Resolver | None" = None) -> Self:
        """Connect to the bus at `address`, or the system bus (DBUS_SYSTEM_BUS_ADDRESS counts).

        `resolver` says who a caller is; by default systemd does. Raises Unavailable.
        """
        bus = cls(resolver)
        bus._connection = await connect(address, bus._receive)
        bus.unique_name = bus._connection.unique_name or ""
        bus.disconnected = bus._connection.closed
        return bus

    # Calls

    async def call(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        *args: Any,
        timeout: float = CALL_TIMEOUT,
    ) -> list[Any]:
        """Call a method and return its results; `timeout` in seconds is never unlimited.

        Raises what the other end answered (see wire.errors), Timeout, Unavailable, and
        InvalidArgument for arguments that do not fit.
        """
        call = message.call(destination, path, interface, member, signature, list(args))
        try:
            reply = await self._connection.ask(call, timeout)
        except MisfitError as error:
            raise errors.InvalidArgument(f"{member} cannot be called so: {error}.") from error
        if reply.kind is Kind.ERROR:
            text = reply.body[0] if reply.signature.startswith("s") else ""
            raise errors.from_reply(reply.error_name or "", text)
        return reply.body

    async def call1(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        *args: Any,
        timeout: float = CALL_TIMEOUT,
    ) -> Any:
        """`call` for a method with exactly one result: returns that."""
        result = await self.call(
            destination, path, interface, member, signature, *args, timeout=timeout
        )
        if len(result) != 1:
            raise errors.InvalidArgument(f"{member} answered {len(result)} values, not one.")
        return result[0]

    # Signals

    @asynccontextmanager
    async def subscribe(self, **rule: str) -> AsyncIterator[SignalStream]:
        """The signals that match (sender, path, path_namespace, interface, member, arg0).

        They are collected from the moment the block is entered; iterating raises Unavailable when
        the connection is lost.
        """
        stream = SignalStream(self.disconnected)
        subscription = await self._router.add(Rule(**rule), stream.put)
        try:
            yield stream
        finally:
            stream.close()
            await subscription.close()

    async def on_signal(self, callback: Callable[[Signal], None], **rule: str) -> Subscription:
        """Call `callback` for each signal that matches, until the result is closed."""
        return await self._router.add(Rule(**rule), callback)

    async def on_owner(
        self,
        name: str,
        *,
        came: Callable[[str], None] | None = None,
        went: Callable[[str], None] | None = None,
    ) -> Subscription:
        """Follow the owner of the well-known `name` until the result is closed.

        Args:
            name: the name; its present owner is not reported, see `owner_of`.
            came: called with the unique name of each new owner.
            went: called with the unique name of each owner that loses the name; before `came` when
                another one takes the name over.
        """

        def changed(signal: Signal) -> None:
            _name, before, now = signal.args
            if before and went is not None:
                went(before)
            if now and came is not None:
                came(now)

        rule = Rule(sender=DAEMON, interface=DAEMON, member="NameOwnerChanged", arg0=name)
        return await self._router.add(rule, changed)

    async def owner_of(self, name: str, timeout: float = CALL_TIMEOUT) -> str:
        """Return the unique name of the owner of `name`, or "" when the name has none.

        Starts no service. Calls to the unique name start none either, whenever the owner ends.
        """
        try:
            owner = await self.call1(
                DAEMON, DAEMON_PATH, DAEMON, "GetNameOwner", "s", name, timeout=timeout
            )
        except errors.HiveError:
            return ""
        return str(owner)

    def watch_sender(self, connection: str) -> asyncio.Future[None]:
        """A future of its own, done when the unique name `connection` has left the bus."""
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watch_leavers()
        self._watches.setdefault(connection, []).append(gone)
        gone.add_done_callback(lambda done: self._forget_watch(connection, done))
        if self._server is None or not self._server.dispatcher.knows(connection):
            self._check_present(connection)
        return gone

    def tell_daemon(self, member: str, value: str) -> None:
        """Call a method of the bus daemon that takes a text, whatever it answers."""
        self._ask_daemon(member, value, lambda reply: None)

    # Exports

    def export(self, path: str, interface: "Interface") -> None:
        """Make `interface` callable at `path`. Do this before `own`. One object a path."""
        self._serving().objects.export(path, interface)

    def unexport(self, path: str, interface: "Interface | None" = None) -> None:
        """Take back one interface of `path`, or all of them."""
        self._serving().objects.unexport(path, interface)

    def export_object_manager(self, root: str) -> None:
        """Make `root` an ObjectManager of all that is exported below it. Do this first."""
        self._serving().objects.export_object_manager(root)

    async def own(self, name: str) -> None:
        """Own the well-known `name`. Raises Conflict when somebody else does, AccessDenied."""
        reply = await self.call1(
            DAEMON, DAEMON_PATH, DAEMON, "RequestName", "su", name, _DO_NOT_QUEUE
        )
        if reply not in _OWNED:
            raise errors.Conflict(f"The name {name} is taken on this bus.")

    # The end

    async def drain(self, grace: float) -> None:
        """Answer new calls Stopping, and running ones too after `grace` seconds; calls go on."""
        if self._server is not None:
            await self._server.dispatcher.stop(grace)

    async def close(self, grace: float = 0.0) -> None:
        """Refuse new calls, give running ones `grace` seconds, answer them, close the connection.

        Idempotent; also after the bus is lost.
        """
        await self.drain(grace)
        with suppress(TimeoutError):
            async with asyncio.timeout(CALL_TIMEOUT):
                await self._connection.drain()
        self._connection.close()
        if self._server is not None:
            self._server.objects.unexport_all()
        for watches in list(self._watches.values()):
            for gone in watches:
                gone.cancel()

    # Inside

    def _serving(self) -> "Server":
        """What answers calls, from the first time on that it is needed."""
        if self._server is None:
            from wire.server import Server

            self._server = Server(self, self._connection, self._resolver)
            self._watch_leavers()
        return self._server

    def _receive(self, received: Message) -> None:
        if received.kind is Kind.CALL:
            self._serving().dispatcher.take(received)
        elif received.kind is Kind.SIGNAL:
            if received.sender == DAEMON and received.member == "NameOwnerChanged":
                name, _, owner = received.body
                if not owner and name.startswith(":"):
                    self._left(name)
            self._router.deliver(received)

    def _watch_leavers(self) -> None:
        """One rule for all callers: a rule for each would run into the daemon's limit of 512."""
        if not self._watches_leavers:
            self._watches_leavers = True
            self.tell_daemon("AddMatch", _LEFT)

    def _check_present(self, connection: str) -> None:
        """Whoever left before the rule was set is not told of: ask once, after it."""

        def answered(reply: Message) -> None:
            if reply.kind is Kind.RETURN and reply.body == [False]:
                self._left(connection)

        self._ask_daemon("NameHasOwner", connection, answered)

    def _ask_daemon(self, member: str, value: str, answered: Callable[[Message], None]) -> None:
        call = message.call(DAEMON, DAEMON_PATH, DAEMON, member, "s", [value])
        self._connection.ask_later(call, answered)

    def _left(self, connection: str) -> None:
        if self._server is not None:
            self._server.dispatcher.caller_left(connection)
        for gone in self._watches.pop(connection, ()):
            if not gone.done():
                gone.set_result(None)

    def _forget_watch(self, connection: str, gone: asyncio.Future[None]) -> None:
        watches = self._watches.get(connection, [])
        if gone in watches:
            watches.remove(gone)
            if not watches:
                del self._watches[connection]
