"""A harness in its own process, with a fake hive, a scripted model and the real claude."""

import asyncio
import json
import os
import select
import signal
import socket
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from harness.hive_client import HiveClient
from harness.tests import greeter
from harness.tests.fake_operator import Operator
from harness.tests.hive import Hive
from sandbox.model import scenario
from sandbox.model.script import Script
from sandbox.model.server import application

API = "api.sock"
"""The socket of the model, in the place of the gateway's."""
SCENARIO = Path(__file__).with_name("scenario.toml")
SCENARIOS = Path(scenario.__file__).with_name("scenarios")


class Harness:
    """The harness's process, as observed from outside."""

    def __init__(self, root: Path, hive: Hive, model: str) -> None:
        self.root, self.hive, self.model = root, hive, model
        self.state = root / "state"
        self.group: Path | None = None
        self.process: asyncio.subprocess.Process | None = None
        self.notes: list[str] = []
        self._noted = asyncio.Event()
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._notify.bind(str(root / "notify"))
        asyncio.get_running_loop().add_reader(self._notify, self._note)
        self.state.mkdir()

    def _note(self) -> None:
        self.notes += self._notify.recv(4096).decode().split("\n")
        self._noted.set()

    async def noted(self, note: str, limit: float = 60.0) -> None:
        async with asyncio.timeout(limit):
            while note not in self.notes:
                self._noted.clear()
                await self._noted.wait()

    async def start(
        self, environment: dict[str, str] | None = None, *, retries: int = 0, **settings: Any
    ) -> None:
        config = self.root / "harness.json"
        own = {"CLAUDE_CODE_MAX_RETRIES": str(retries)}
        values = {"name": "bob", "api": "scripted", "environment": own}
        config.write_text(json.dumps(values | settings))
        own = {
            "HIVE_SOCKET": str(self.hive.path),
            "HIVE_API": str(self.root / API),
            "HIVE_STATE": str(self.state),
            "HIVE_WORK": str(self.root / "work"),
            "HIVE_PROJECTS": str(self.root / "projects"),
            "HIVE_CONFIG": str(config),
            "HIVE_WEB": str(self.root / "web.sock"),
            "HIVE_GROUPS": str(self.group.parent if self.group else self.root / "no-groups"),
            "RUNTIME_DIRECTORY": str(self.root / "run"),
            "HOME": str(self.root),
            "NOTIFY_SOCKET": str(self.root / "notify"),
            "WATCHDOG_USEC": "2000000",
            # As in a container: what goes to the model does not go there.
            **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:7"),
            "NO_PROXY": "localhost,127.0.0.1,::1",
            "NODE_USE_ENV_PROXY": "1",
        }
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("ANTHROPIC", "CLAUDE"))}
        with (self.root / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "harness",
                env=clean | own | (environment or {}),
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                preexec_fn=self._join,
            )

    def _join(self) -> None:
        if self.group:
            (self.group / "cgroup.procs").write_text("0")

    async def stop(self, number: int = signal.SIGTERM, limit: float = 20.0) -> int:
        assert self.process is not None
        with suppress(ProcessLookupError):
            self.process.send_signal(number)
        async with asyncio.timeout(limit):
            return await self.process.wait()

    def claude(self) -> int:
        """Return the pid of its Claude Code process."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        for pid in map(int, children.split()):
            if "claude" in Path(f"/proc/{pid}/cmdline").read_text():
                return pid
        raise AssertionError("no claude is running")

    async def waiting_for(self, body: str) -> int:
        """Give the agent a message with which it works until it is stopped; return its id.

        It is in a call of Bash then, or, for `talk`, in the middle of a slow answer.
        """
        number = await self.hive.push(body)
        before = len(self.hive.sent)
        await self.hive.until(lambda: len(self.hive.sent) > before)
        if body != "talk":
            await self.hive.until(lambda: "Bash" in self.hive.reports[-1].get("activity", ""))
        return number

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Return the data of all events of a kind."""
        query = f"SELECT data FROM events WHERE type = '{kind}' ORDER BY id"
        return [json.loads(data) for (data,) in self.rows("hyperhive-events.sqlite", query)]

    def processes(self, file: str) -> dict[int, list[str]]:
        """Return a file of /proc of the harness, its Claude Code, and the programs that it runs.

        Args:
            file: `cmdline` or `environ`.
        """
        assert self.process is not None
        pids = [self.process.pid]
        for pid in pids:  # it grows meanwhile
            for task in Path(f"/proc/{pid}/task").iterdir():
                pids += [int(child) for child in (task / "children").read_text().split()]
        return {pid: Path(f"/proc/{pid}/{file}").read_text().split("\0") for pid in pids}

    def log(self) -> str:
        return (self.root / "log").read_text()

    def rows(self, name: str, query: str) -> list[tuple[Any, ...]]:
        database = sqlite3.connect(self.state / name)
        try:
            return database.execute(query).fetchall()
        finally:
            database.close()

    async def close(self) -> None:
        if self.process is not None and self.process.returncode is None:
            await self.stop(signal.SIGKILL)
        asyncio.get_running_loop().remove_reader(self._notify)
        self._notify.close()


async def ended(descriptor: int) -> None:
    """Wait until the process of a pidfd has ended, and close the pidfd."""
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, over.set)
    try:
        async with asyncio.timeout(60):
            await over.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


@pytest.fixture
def group() -> Iterator[Path]:
    """Create a control group of version 2 for one test."""
    mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    trees = [Path(mount[4]) for mount in mounts if "cgroup2" in mount]
    if not trees or not os.access(trees[0], os.W_OK):
        pytest.skip("there is no control group of version 2 that this process may write to")
    path = trees[0] / f"hive-test-{os.getpid()}"
    path.mkdir()
    yield path
    (path / "cgroup.kill").write_text("1")
    for inner in (path / "turn", path / "claude", path / "login", path):
        if inner.exists():
            _remove(inner)


def _remove(group: Path) -> None:
    """Remove a group, as soon as its last process is gone."""
    events = group / "cgroup.events"
    with events.open() as file:
        waiter = select.poll()
        waiter.register(file, select.POLLPRI)
        while "populated 1" in events.read_text():
            assert waiter.poll(20_000), "a killed process does not end"
    group.rmdir()


@pytest_asyncio.fixture
async def grouped(harness: Harness, group: Path) -> Harness:
    """Return a harness that is not started yet, in a control group of its own."""
    harness.group = group
    return harness


@pytest_asyncio.fixture
async def hive(tmp_path: Path) -> AsyncIterator[Hive]:
    hive = Hive(tmp_path / "mcp.sock")
    await hive.start()
    yield hive
    await hive.stop()


@pytest_asyncio.fixture
async def client(hive: Hive) -> AsyncIterator[HiveClient]:
    client = HiveClient(hive.path)
    task = asyncio.create_task(client.run())
    await client.connected()
    yield client
    task.cancel()
    await asyncio.wait({task})


@pytest_asyncio.fixture
async def operator(hive: Hive, client: HiveClient) -> AsyncIterator[Operator]:
    operator = Operator(hive, client, permissions="ask", ask_tools=["Bash(git push:*)"])
    task = asyncio.create_task(operator.receive())
    yield operator
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@pytest_asyncio.fixture
async def serve_model(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Return a function that serves the scripted model on a port (0: any) and returns its URL.

    It is served on the socket API, too.
    """
    runners: list[web.AppRunner] = []

    async def serve(port: int = 0) -> str:
        runner = web.AppRunner(
            application(Script(scenario.load(SCENARIO, SCENARIOS))),
            shutdown_timeout=0.1,
            handler_cancellation=True,
        )
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        (tmp_path / API).unlink(missing_ok=True)
        await web.UnixSite(runner, tmp_path / API).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    yield serve
    for runner in runners:
        await runner.cleanup()


@pytest_asyncio.fixture
async def serve_greeter() -> AsyncIterator[Callable[[], Awaitable[str]]]:
    """Return a function that serves the greeter and returns its URL."""
    app = web.Application()
    app.router.add_route("*", "/mcp", greeter.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)

    async def start() -> str:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}/mcp"

    yield start
    await runner.cleanup()


@pytest_asyncio.fixture
async def harness(
    tmp_path: Path, hive: Hive, serve_model: Callable[..., Any]
) -> AsyncIterator[Harness]:
    """Return a harness that is not started yet, with the model of scenario.toml."""
    harness = Harness(tmp_path, hive, await serve_model())
    yield harness
    await harness.close()
    print(harness.log() if (tmp_path / "log").exists() else "(never started)")
