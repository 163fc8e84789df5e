"""The composition root of hive-agent@NAME.service: `python -m services.endpoint NAME`."""

import socket
import sys

from systemd.daemon import listen_fds

from services import unit
from services.endpoint.server import EndpointServer
from wire import names
from wire.bus import Bus


class EndpointService(unit.Service):
    """The running service: the endpoint of one agent, on the socket from systemd."""

    def __init__(self, server: EndpointServer, listener: socket.socket) -> None:
        self._server = server
        self._listener = listener

    async def start(self) -> None:
        """Serve the connections, including those that waited for this process to start."""
        await self._server.start(self._listener)

    async def close(self) -> None:
        """End every connection; systemd keeps the socket, so clients can connect again."""
        await self._server.close()


def main() -> None:
    """Run the endpoint of the agent that the only argument names."""
    name = sys.argv[1] if len(sys.argv) == 2 else ""
    inherited = listen_fds()
    if not names.AGENT_NAME.fullmatch(name) or len(inherited) != 1:
        sys.exit("usage: systemctl start hive-agent@NAME.socket")

    async def build(bus: Bus) -> unit.Service:
        return EndpointService(EndpointServer(bus, name), socket.socket(fileno=inherited[0]))

    unit.main("agent", build)


if __name__ == "__main__":
    main()
