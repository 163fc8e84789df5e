"""hivectl as a process of its own, on a private bus with a fake hive."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from hivectl.tests.fake_hive import FakeHive
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


@pytest.fixture
async def hive(connect: Callable[[], Awaitable[Bus]]) -> FakeHive:
    hive = FakeHive(await connect())
    await hive.up()
    return hive


@pytest.fixture
def environment(bus_address: str) -> dict[str, str]:
    keep = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME")}
    return keep | {
        "DBUS_SYSTEM_BUS_ADDRESS": bus_address,
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONWARNINGS": "error",
    }


def module_of(environment: dict[str, str]) -> str:
    """Return the module that is hivectl."""
    return "hivectl.tests.launcher" if "WEB_DIRECTORY" in environment else "hivectl"


@pytest.fixture
async def web(tmp_path: Path, environment: dict[str, str]) -> AsyncIterator[FakeWeb]:
    """Serve the web.sock of alice's harness."""
    environment["WEB_DIRECTORY"] = str(tmp_path)
    async with FakeWeb().serve(tmp_path) as web:
        yield web


@pytest.fixture
def hivectl(environment: dict[str, str]) -> Hivectl:
    async def run(*arguments: str, stdin: bytes = b"", **extra: str) -> Ran:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module_of(environment),
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment | extra,
        )
        try:
            async with asyncio.timeout(TIME_LIMIT):
                out, err = await process.communicate(stdin)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode is not None
        assert "Traceback" not in err.decode()
        return Ran(process.returncode, out.decode(), err.decode())

    return run
