"""hivectl as a process of its own, on a private bus with a fake hive."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from hivectl.tests.fake_hive import FakeHive
from hivectl.tests.prepared import Prepared, prepared
from wire.agent_web.tests.fake_web import FakeWeb
from wire.bus import Bus

TIME_LIMIT = 20.0


class Ran(NamedTuple):
    """The result of a run of hivectl."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Hivectl = Callable[..., Coroutine[Any, Any, Ran]]


# With these, output is the same on each machine; and no warning of Python is overlooked.
FIXED = {"LC_ALL": "C.UTF-8", "TZ": "UTC", "PYTHONWARNINGS": "error"}


def _inherited() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k in ("PATH", "HOME")}


@pytest.fixture
async def hive(connect: Callable[[], Awaitable[Bus]]) -> FakeHive:
    hive = FakeHive(await connect())
    await hive.up()
    return hive


@pytest.fixture
def environment(bus_address: str) -> dict[str, str]:
    return _inherited() | FIXED | {"DBUS_SYSTEM_BUS_ADDRESS": bus_address}


def with_socket_unit(folder: Path, listen: str) -> dict[str, str]:
    """Return an environment with a systemctl that knows one socket unit, which has failed.

    Args:
        folder: the place for that program.
        listen: the address of the unit.
    """
    program = folder / "systemctl"
    program.write_text(f"#!/bin/sh\necho 'Listen={listen} (Stream)'\necho ActiveState=failed\n")
    program.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def module_of(environment: dict[str, str]) -> str:
    """Return the module that is hivectl."""
    return "hivectl.tests.launcher" if "WEB_DIRECTORY" in environment else "hivectl"


@pytest.fixture
async def web(tmp_path: Path, environment: dict[str, str]) -> AsyncIterator[FakeWeb]:
    """Serve the web.sock of alice's harness."""
    environment["WEB_DIRECTORY"] = str(tmp_path)
    async with FakeWeb().serve(tmp_path) as web:
        yield web


@pytest.fixture(scope="session")
def processes() -> Iterator[Prepared]:
    with prepared(_inherited() | FIXED) as processes:
        yield processes


@pytest.fixture
def hivectl(environment: dict[str, str], processes: Prepared) -> Hivectl:
    async def run(*arguments: str, stdin: bytes = b"", **extra: str) -> Ran:
        assert not extra.keys() & FIXED.keys()
        async with asyncio.timeout(TIME_LIMIT):
            code, out, err = await processes.run(
                module_of(environment), arguments, stdin, environment | extra
            )
        assert "Traceback" not in err.decode()
        return Ran(code, out.decode(), err.decode())

    return run


@pytest.fixture
def on_terminal(
    environment: dict[str, str], processes: Prepared
) -> Callable[..., Coroutine[Any, Any, Ran]]:
    """Run hivectl on a terminal of a width; all of its output is `out`."""

    async def run(*arguments: str, columns: int, **extra: str) -> Ran:
        shown = {"TERM": "xterm", "COLUMNS": str(columns), "LINES": "10000"} | extra
        async with asyncio.timeout(TIME_LIMIT):
            code, text = await processes.run_on_terminal(
                module_of(environment), arguments, environment | shown
            )
        return Ran(code, text.decode(), "")

    return run
