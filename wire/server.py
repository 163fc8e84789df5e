"""The serving side of a connection: its objects, and the answers to calls.

wire.bus makes a server when something is exported, or when a call arrives. A process that only
calls others, such as an endpoint or hivectl, starts sooner and stays smaller without a server.
"""

from wire import message
from wire.caller import Caller
from wire.connection import Connection
from wire.dispatch import Dispatcher
from wire.objects import Objects
from wire.principal import Principal
from wire.resolver import Resolver, SystemdResolver
from wire.types import Value


class Server:
    """The objects of one connection, and their dispatcher."""

    def __init__(self, bus: Caller, connection: Connection, resolver: Resolver | None) -> None:
        self._bus = bus
        self._connection = connection
        self._resolver = resolver or SystemdResolver()
        self.objects = Objects(self._emit)
        self.dispatcher = Dispatcher(self.objects, connection.post, self._identify)

    def _emit(
        self,
        path: str,
        interface: str,
        member: str,
        signature: str,
        values: list[Value],
        destination: str,
    ) -> None:
        if self._connection.connected:
            self._connection.post(
                message.signal(path, interface, member, signature, values, destination)
            )

    async def _identify(self, connection: str) -> Principal | None:
        return await self._resolver.resolve(self._bus, connection)
