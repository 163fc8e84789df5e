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

Values are plain Python on both sides (see wire.types). wire.errors lists the errors.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final, Self

from wire import errors, message, names
from wire.caller import CALL_TIMEOUT
from wire.connection import Connection, connect
from wire.encoding import MisfitError
from wire.message import Kind, Message
from wire.signals import DAEMON, DAEMON_PATH, Router, Rule, Signal, SignalStream, Subscription
from wire.types import Value

if TYPE_CHECKING:  # most of wire is loaded only when it is needed: see _serving
    from wire.absence import Absences
    from wire.interface import Interface
    from wire.resolver import Resolver
    from wire.server import Server

_DO_NOT_QUEUE: Final = 4
_OWNED: Final = (1, 4)
_LEFT: Final = "type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg2=''"


class Bus:
    """One connection to a message bus, made by `Bus.connect`."""

    unique_name: str
    disconnected: asyncio.Future[Exception | None]

    def __init__(self, resolver: "Resolver | None") -> None:
        self._resolver = resolver
        self._connection: Connection
        self._router = Router(self)
        self._server: Server | None = None
        self._absences: Absences | None = None
        self._watches: dict[str, list[asyncio.Future[None]]] = {}
        self._watches_leavers = False

    @classmethod
    async def connect(cls, address: str | None = None, resolver: "Resolver | None" = None) -> Self:
        """Connect to a bus.

        Args:
            address: the address of the bus; by default the system bus, or the value of
                DBUS_SYSTEM_BUS_ADDRESS.
            resolver: identifies the callers; by default by their systemd units.

        Raises:
            Unavailable: the bus cannot be reached.
        """
        bus = cls(resolver)
        bus._connection = await connect(address, bus._receive, bus._is_wanted)
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
        *args: Value,
        timeout: float = CALL_TIMEOUT,
    ) -> list[Value]:
        """Call a method and return its results.

        Args:
            timeout: the seconds to wait for the answer; a call is never unlimited.

        Raises:
            HiveError: the error that the other end answered; see wire.errors.
            InvalidArgument: an argument does not fit the signature.
            Timeout: no answer came in time.
            Unavailable: nobody owns the name, or the connection is lost. A call to a service of
                the hive first waits for the service, if systemd is starting it; see wire.absence.
        """
        until = asyncio.get_running_loop().time() + timeout
        while True:
            call = message.call(destination, path, interface, member, signature, list(args))
            try:
                reply = await self._connection.ask(call, timeout)
            except MisfitError as error:
                raise errors.InvalidArgument(
                    f"The arguments of {member} are not valid: {error}."
                ) from error
            if reply.error_name not in errors.NOBODY or destination not in names.SERVICE_UNITS:
                break
            # The call has reached nobody, so it may be sent again.
            timeout = until - asyncio.get_running_loop().time()
            if timeout <= 0 or not await self._absent().wait(destination, timeout):
                break
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
        *args: Value,
        timeout: float = CALL_TIMEOUT,
    ) -> Value:
        """Call a method with exactly one result and return that; see `call`."""
        result = await self.call(
            destination, path, interface, member, signature, *args, timeout=timeout
        )
        if len(result) != 1:
            raise errors.InvalidArgument(f"{member} returned {len(result)} values instead of one.")
        return result[0]

    # Signals

    @asynccontextmanager
    async def subscribe(self, **rule: str) -> AsyncIterator[SignalStream]:
        """Collect the signals that match, from the moment the block is entered.

        Args:
            rule: sender, path, path_namespace, interface, member, arg0; see wire.signals.Rule.

        Yields:
            A stream of signals. Iterating over the stream raises Unavailable when the connection is
            lost.
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

        Starts no service and waits for none; nor do calls to the unique name.
        """
        try:
            owner = await self.call1(
                DAEMON, DAEMON_PATH, DAEMON, "GetNameOwner", "s", name, timeout=timeout
            )
        except errors.HiveError:
            return ""
        return str(owner)

    def watch_sender(self, connection: str) -> asyncio.Future[None]:
        """Return a new future that is done when the unique name `connection` has left the bus."""
        gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watch_leavers()
        self._watches.setdefault(connection, []).append(gone)
        gone.add_done_callback(lambda done: self._forget_watch(connection, done))
        if self._server is None or not self._server.dispatcher.knows(connection):
            self._check_present(connection)
        return gone

    def tell_daemon(self, member: str, value: str) -> None:
        """Call a method of the bus daemon that takes a text; ignore the answer."""
        self._ask_daemon(member, value, lambda reply: None)

    # Exports

    def export(self, path: str, interface: "Interface") -> None:
        """Make `interface` callable at `path`, before `own`. One object has one path."""
        self._serving().objects.export(path, interface)

    def unexport(self, path: str, interface: "Interface | None" = None) -> None:
        """Remove one interface from `path`, or all of them."""
        self._serving().objects.unexport(path, interface)

    def export_object_manager(self, root: str) -> None:
        """Make `root` the ObjectManager of everything below it, before the first export."""
        self._serving().objects.export_object_manager(root)

    async def own(self, name: str) -> None:
        """Own the well-known `name`.

        Raises:
            AccessDenied: the bus policy forbids it.
            Conflict: another connection owns the name.
        """
        reply = await self.call1(
            DAEMON, DAEMON_PATH, DAEMON, "RequestName", "su", name, _DO_NOT_QUEUE
        )
        if reply not in _OWNED:
            raise errors.Conflict(f"Another connection owns the name {name} on this bus.")

    # The end

    async def drain(self, grace: float) -> None:
        """Answer new calls with Stopping, and after `grace` seconds the running ones, too.

        The connection stays usable for calls of its own.
        """
        if self._server is not None:
            await self._server.dispatcher.stop(grace)

    async def close(self, grace: float = 0.0) -> None:
        """Refuse new calls, give the running ones `grace` seconds, and close the connection.

        Closing twice, or after the bus is lost, does nothing.
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
        """Return the part that answers calls; the first call makes it."""
        if self._server is None:
            from wire.server import Server

            self._server = Server(self, self._connection, self._resolver)
            self._watch_leavers()
        return self._server

    def _absent(self) -> "Absences":
        """Return the part that waits for services; the first call makes it."""
        if self._absences is None:
            from wire.absence import Absences

            self._absences = Absences(self)
        return self._absences

    def _receive(self, received: Message) -> None:
        if received.kind is Kind.CALL:
            self._serving().dispatcher.take(received)
        elif received.kind is Kind.SIGNAL:
            if received.sender == DAEMON and received.member == "NameOwnerChanged":
                name, _, owner = received.body
                if not owner and name.startswith(":"):
                    self._left(name)
            self._router.deliver(received)

    def _is_wanted(self, signal: Message) -> bool:
        return signal.sender == DAEMON or self._router.wants(signal)

    def _watch_leavers(self) -> None:
        """Add one match rule for all callers: the daemon allows 512 rules for a connection."""
        if not self._watches_leavers:
            self._watches_leavers = True
            self.tell_daemon("AddMatch", _LEFT)

    def _check_present(self, connection: str) -> None:
        """Ask once whether `connection` is there: it may have left before the match rule."""

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
