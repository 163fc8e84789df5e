"""The composition root of hive-forge.service."""

import socket
from pathlib import Path
from typing import Final

from services import credentials, unit
from services.config import Config
from services.directories import state_directory
from services.errors import ConfigError
from services.forge.clients import BusBroker
from services.forge.forge import Forge
from services.forge.replays import Replays
from services.forge.server import Server
from services.loopback import inherited_socket
from wire.bus import Bus
from wire.forge import TOKEN_DIRECTORY

SOCKET: Final = "hive-forge.socket"
SECRET: Final = "webhook"  # noqa: S105 - the name of a credential
MISSING: Final = "-"
"""The value that the unit gives to a credential whose file does not exist."""
MIN_SECRET: Final = 16


class ForgeService(unit.Service):
    """The running service: one server on the socket from systemd."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def start(self) -> None:
        """Serve the connections, including those that waited for this process to start."""
        self._server.start()

    async def run(self) -> None:
        """Serve until nothing has happened in the forge for a while."""
        await self._server.run()

    async def close(self) -> None:
        """End every connection; systemd keeps the socket."""
        await self._server.close()


def secret(folder: Path | None) -> str:
    """Return the secret of the webhook.

    Args:
        folder: the directory of the unit's credentials.

    Raises:
        ConfigError: there is none, or it is too short to be one.
    """
    source = f"{TOKEN_DIRECTORY}/{SECRET}"
    found = credentials.token(folder / SECRET, source) if folder else None
    if found is None or found == MISSING:
        raise ConfigError(f"{source} does not exist: write the secret of the webhook into it.")
    if len(found) < MIN_SECRET:
        raise ConfigError(
            f"{source} has {len(found)} characters, and anybody could guess it: write at least "
            f"{MIN_SECRET} random ones, such as those of `openssl rand -hex 32`."
        )
    return found


async def build(bus: Bus, config: Config, listener: socket.socket) -> unit.Service:
    """Build the service on the socket that systemd passed.

    Raises:
        ConfigError: a file cannot be used.
    """
    signs = secret(credentials.directory())
    replays = Replays(state_directory("forge") / "received")
    forge = Forge(config.forge, signs, replays, BusBroker(bus))
    return ForgeService(Server(listener, forge))


async def _build(bus: Bus) -> unit.Service:
    because = "the texts of private repositories would cross the network unencrypted"
    return await build(bus, Config.load(), inherited_socket(SOCKET, because))


if __name__ == "__main__":
    unit.main("forge", _build)
