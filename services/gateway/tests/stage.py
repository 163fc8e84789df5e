"""The gateway of alice in this process, between clients on its sockets and servers of a test."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from services.config import GatewayConfig
from services.gateway.credentials import Credential
from services.gateway.gateway import Gateway
from services.gateway.tests.fakes import FakeLedger, FakeNames

KEY = "sk-ant-api03-the-real-one"
CREDENTIAL = Credential("default", KEY)
LIMIT = 20.0


def listening(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(128)
    return listener


def write_settings(folder: Path, **values: Any) -> None:
    """Write the settings of alice as lifecycle does: atomically."""
    whole = {"network": "gateway", "egress": [], "upstream": "http://127.0.0.1:1", **values}
    new = folder / ".alice.new"
    new.write_text(json.dumps(whole))
    new.replace(folder / "alice.json")


@dataclass
class Stage:
    """A running gateway."""

    folder: Path
    ledger: FakeLedger
    names: FakeNames
    gateway: Gateway
    sessions: list[aiohttp.ClientSession] = field(default_factory=list)

    @property
    def api(self) -> Path:
        return self.folder / "api.sock"

    @property
    def proxy(self) -> Path:
        return self.folder / "proxy.sock"

    def settings(self, **values: Any) -> None:
        """Change the settings; they are in effect at once."""
        write_settings(self.folder / "settings", **values)

    def session(self) -> aiohttp.ClientSession:
        """Return a client of the Messages API."""
        session = aiohttp.ClientSession(
            "http://hive.internal", connector=aiohttp.UnixConnector(str(self.api))
        )
        self.sessions.append(session)
        return session

    async def raw(self, data: bytes, *, proxy: bool = False) -> bytes:
        """Send `data` as it is, and return all that comes until the end."""
        reader, writer = await self.open(proxy=proxy)
        writer.write(data)
        async with asyncio.timeout(LIMIT):
            answer = await reader.read(-1)
        writer.close()
        return answer

    async def open(
        self, *, proxy: bool = True
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection to one of the two sockets."""
        path = self.proxy if proxy else self.api
        return await asyncio.open_unix_connection(str(path))


@asynccontextmanager
async def stage(
    folder: Path,
    credential: Credential | None = CREDENTIAL,
    *,
    exit_seconds: float = 60.0,
    config: GatewayConfig | None = None,
    forge_token: str = "",
    **settings: Any,
) -> AsyncIterator[Stage]:
    """Run a gateway, and close it afterwards."""
    directory = folder / "settings"
    directory.mkdir(exist_ok=True)
    write_settings(directory, **settings)
    ledger, names = FakeLedger(), FakeNames()
    gateway = Gateway(
        "alice",
        config or GatewayConfig(),
        credential,
        ledger,
        api=listening(folder / "api.sock"),
        proxy=listening(folder / "proxy.sock"),
        directory=directory,
        forge_token=forge_token,
        names=names,
        exit_seconds=exit_seconds,
    )
    gateway.start()
    running = asyncio.create_task(gateway.run())
    stage = Stage(folder, ledger, names, gateway)
    try:
        yield stage
    finally:
        for session in stage.sessions:
            await session.close()
        running.cancel()
        await asyncio.wait([running])
        await gateway.close()
