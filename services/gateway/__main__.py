"""The composition root of hive-gateway@NAME.service: `python -m services.gateway NAME`."""

import socket
import sys
from typing import Final

from systemd.daemon import listen_fds_with_names

from services import unit
from services.config import Config
from services.credentials import directory
from services.gateway import credentials
from services.gateway.clients import BusLedger
from services.gateway.gateway import Gateway
from services.gateway.settings import DIRECTORY
from wire import names
from wire.bus import Bus

API: Final = "api"
PROXY: Final = "proxy"
"""The names of the two sockets: FileDescriptorName= of their units."""


class GatewayService(unit.Service):
    """The running service: the gateway of one agent, on the sockets from systemd."""

    def __init__(self, gateway: Gateway, ledger: BusLedger) -> None:
        self._gateway = gateway
        self._ledger = ledger

    async def start(self) -> None:
        """Serve the connections, including those that waited for this process to start."""
        await self._ledger.watch()
        self._gateway.start()

    async def run(self) -> None:
        """Serve until nobody has needed the gateway for a while."""
        await self._gateway.run()

    async def close(self) -> None:
        """End every connection; systemd keeps the sockets, so clients can connect again."""
        await self._gateway.close()


def main() -> None:
    """Run the gateway of the agent that the only argument names."""
    name = sys.argv[1] if len(sys.argv) == 2 else ""
    inherited = {word: fd for fd, word in listen_fds_with_names().items()}
    if not names.is_agent_name(name) or set(inherited) != {API, PROXY}:
        sys.exit("usage: systemctl start hive-api@NAME.socket hive-proxy@NAME.socket")

    async def build(bus: Bus) -> unit.Service:
        config = Config.load().gateway
        folder = directory()
        credential = credentials.load(folder, name)
        ledger = BusLedger(bus)
        gateway = Gateway(
            name,
            config,
            credential,
            ledger,
            api=socket.socket(fileno=inherited[API]),
            proxy=socket.socket(fileno=inherited[PROXY]),
            directory=DIRECTORY,
            forge_token=credentials.load_forge(folder),
        )
        return GatewayService(gateway, ledger)

    unit.main("gateway", build)


if __name__ == "__main__":
    main()
