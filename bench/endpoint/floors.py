"""Floors of the endpoint: a process that only imports the same modules."""

import ast
import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Final

from services.endpoint.tests.process import REPO, cpu_of, proportional_of, resident_of

_OURS: Final = ("wire", "services")
_LIST_OURS: Final = """
import sys
import services.endpoint.__main__
for name, module in sorted(sys.modules.items()):
    if name.partition(".")[0] in ("wire", "services") and module.__file__:
        print(module.__file__)
"""
_WAIT: Final = "\nimport os\nos.write(1, b'r')\nos.read(0, 1)\n"
_CONNECTED: Final = """
import asyncio, os, socket
from dbus_next import BusType
from dbus_next.aio import MessageBus
async def connected():
    bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind("")
    await asyncio.start_unix_server(lambda reader, writer: None, sock=listener)
    os.write(1, b"r")
    await asyncio.to_thread(os.read, 0, 1)
    os._exit(0)
asyncio.run(connected())
"""


@dataclass(frozen=True, slots=True)
class Sample:
    """One start: seconds until it was ready, of the clock and of the processor, and its bytes."""

    wall: float
    cpu: float
    resident: int
    proportional: int


def imports() -> str:
    """Return the import statements of the modules that the endpoint loads, but for our own."""
    files = subprocess.run(
        [sys.executable, "-c", _LIST_OURS], cwd=REPO, check=True, capture_output=True, text=True
    ).stdout.split()
    found = {statement for file in files for statement in _imports_of(Path(file))}
    # Under systemd, what is logged goes to the journal: imported where that is found out.
    return "\n".join(sorted(found | {"import systemd.journal"}))


def _imports_of(file: Path) -> Iterator[str]:
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        if not any(name.partition(".")[0] in _OURS for name in names):
            yield ast.unparse(node)


def programs() -> dict[str, str]:
    """Return the floors by name: programs that report when they are ready, and end with stdin."""
    needed = imports()
    return {
        "Python alone": _WAIT,
        "imports": needed + _WAIT,
        "imports, a bus connection, a socket": needed + _CONNECTED,
        "import mcp.server": "import mcp.server" + _WAIT,
    }


async def sample(program: str, environment: dict[str, str]) -> Sample:
    """Measure one start of `program`."""
    began = perf_counter()
    async with _running(program, environment) as process:
        return Sample(
            perf_counter() - began,
            cpu_of(process.pid),
            resident_of(process.pid),
            proportional_of(process.pid),
        )


@asynccontextmanager
async def _running(
    program: str, environment: dict[str, str]
) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *("/bin/sh", "-c", 'exec "$@"', "sh", sys.executable, "-c", program),
        cwd=REPO,
        env={**os.environ, **environment},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        await process.stdout.readexactly(1)
        yield process
    finally:
        process.stdin.close()
        await process.wait()
