"""hive-agent@NAME.service: `python -m services.endpoint NAME`, with the socket from systemd."""

import socket
import sys

from systemd.daemon import listen_fds

from services import unit
from services.endpoint.endpoint import Endpoint
from wire import names
from wire.bus import Bus


class AgentService(unit.Service):
    """One agent's endpoint."""

    def __init__(self, endpoint: Endpoint, listener: socket.socket) -> None:
        self._endpoint = endpoint
        self._listener = listener

    async def start(self) -> None:
        """Serve what has been waiting on the socket since before this process was there."""
        await self._endpoint.start(self._listener)

    async def close(self) -> None:
        """End every connection; the socket stays with systemd, so clients can come again."""
        await self._endpoint.close()


def main() -> None:
    """Run the endpoint of the agent named by the one argument."""
    name = sys.argv[1] if len(sys.argv) == 2 else ""
    inherited = listen_fds()
    if not names.AGENT_NAME.fullmatch(name) or len(inherited) != 1:
        sys.exit("usage: systemctl start hive-agent@NAME.socket")

    async def build(bus: Bus) -> unit.Service:
        return AgentService(Endpoint(bus, name), socket.socket(fileno=inherited[0]))

    unit.main("agent", build)


if __name__ == "__main__":
    main()
