"""The processes of the bench, on a bus of their own: upstream, bare proxy, ledger, bare call."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.gateway.client import Connect
from services.gateway.tests.process import REPO
from wire import names
from wire.bus import Bus
from wire.testing import FakeSystemd, FixedPrincipals

CONFIG: Final = """
[ledger]
agent_requests_per_hour = 1000000
[ledger.budgets.hive]
day = 100000.0
[ledger.budgets.agent]
day = 10000.0
week_tokens = 1000000000000
"""
"""Budgets that hold, but are not used up."""


@dataclass(frozen=True, slots=True)
class Way:
    """A way to the upstream, and the process on it; 0 for none."""

    connect: Connect
    pid: int = 0


@asynccontextmanager
async def process(*command: str, **environment: str) -> AsyncIterator[tuple[int, str]]:
    """Run a module that prints a line when it is ready; yield its pid and the line."""
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *command),
        stdout=asyncio.subprocess.PIPE,
        cwd=REPO,
        env=os.environ | environment,
    )
    try:
        assert running.stdout is not None
        async with asyncio.timeout(30):
            line = (await running.stdout.readline()).decode().strip()
        yield running.pid, line
    finally:
        running.terminate()
        await running.wait()


@asynccontextmanager
async def upstream(pace: float) -> AsyncIterator[int]:
    """Run the upstream; yield its port."""
    async with process("bench.gateway.upstream", str(pace)) as (_, port):
        yield int(port)


@asynccontextmanager
async def bare_proxy(folder: Path, port: int) -> AsyncIterator[Way]:
    """Run the bare proxy."""
    path = folder / "proxy.bare"
    async with process("bench.gateway.proxy", str(path), str(port)) as (pid, _):
        yield Way(lambda: asyncio.open_unix_connection(str(path)), pid)


@asynccontextmanager
async def systemd(address: str) -> AsyncIterator[None]:
    """Run a systemd that knows every caller as alice's gateway."""
    bus = await Bus.connect(address, FixedPrincipals())
    bus.export("/org/freedesktop/systemd1", FakeSystemd(names.gateway_unit("alice")))
    await bus.own("org.freedesktop.systemd1")
    try:
        yield
    finally:
        await bus.close()


@asynccontextmanager
async def ledger(address: str, folder: Path) -> AsyncIterator[int]:
    """Run the real ledger; yield its pid."""
    state, config = folder / "ledger", folder / "ledger.toml"
    state.mkdir()
    config.write_text(CONFIG)
    watcher = await Bus.connect(address, FixedPrincipals())
    came = asyncio.Event()
    await watcher.on_owner(names.LEDGER, came=lambda _: came.set(), went=lambda _: None)
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.ledger"),
        cwd=REPO,
        env={
            **{key: value for key, value in os.environ.items() if key != "JOURNAL_STREAM"},
            "DBUS_SYSTEM_BUS_ADDRESS": address,
            "STATE_DIRECTORY": str(state),
            "HYPERHIVE_CONFIG": str(config),
            "PYDANTIC_DISABLE_PLUGINS": "__all__",
        },
        stderr=asyncio.subprocess.DEVNULL,  # it misses the broker, and says so
    )
    try:
        async with asyncio.timeout(30):
            await came.wait()
        yield running.pid
    finally:
        running.terminate()
        await running.wait()
        await watcher.close()
