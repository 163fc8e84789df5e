"""The processes of the bench, on a bus of their own: the dashboard, and services that are fakes."""

import asyncio
import json
import os
import random
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

from services.dashboard.http.sessions import Sessions
from services.dashboard.tests.fakes.agent import FakeAgent
from services.dashboard.tests.fakes.hive import FakeHive
from services.dashboard.tests.process import Process
from services.gateway.tests.process import REPO
from wire.bus import Bus
from wire.records.broker import MessageState
from wire.testing import FixedPrincipals, private_bus

WORDS: Final = (
    *("the", "parser", "tests", "deploy", "merge", "branch", "error", "review", "cache", "queue"),
    *(
        "größer",
        "überall",
        "прочитал",
        "сообщение",
        "消息已经",
        "队列",
        "رسالة",
        "جديدة",
        "🚀",
        "👩‍🔬",
    ),
    *("`make test`", "https://example.org/a/b", "src/parser.py:41", "```\ncode\n```", "**bold**"),
)
"""Words of messages: several scripts, emoji, code and addresses."""


@dataclass(frozen=True, slots=True)
class Size:
    """The size of the hive."""

    agents: int
    messages: int
    questions: int


@dataclass(slots=True)
class Stage:
    """The dashboard, and the fakes that it shows."""

    hive: FakeHive
    url: str
    port: int
    pid: int
    session: str


@asynccontextmanager
async def stage(folder: Path, size: Size) -> AsyncIterator[Stage]:
    """Run the real dashboard over a hive of that size."""
    hive = filled(size)
    token = Sessions(folder / "logins.json").create_token()
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(private_bus(stderr=asyncio.subprocess.DEVNULL))
        for serve in (
            hive.serve_broker,
            hive.serve_lifecycle,
            hive.serve_approvals,
            hive.serve_ledger,
            hive.serve_projects,
        ):
            bus = await Bus.connect(address, FixedPrincipals())
            stack.push_async_callback(bus.close)
            await serve(bus)
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1000))
        process = Process(listener, address, folder)
        stack.callback(process.close)
        running = await process.start()
        stack.push_async_callback(running.wait)
        stack.callback(running.terminate)
        await process.until_told(b"READY=1")
        port = listener.getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        async with aiohttp.ClientSession() as http:
            session = await log_in(http, url, token)
            await until_filled(http, url, session, size)
        yield Stage(hive, url, port, running.pid, session)


async def log_in(http: aiohttp.ClientSession, url: str, token: str) -> str:
    """Return a session."""
    body, headers = {"token": token}, {"Origin": url}
    async with http.post(f"{url}/login", json=body, headers=headers) as answer:
        session = (await answer.json())["session"]
        assert isinstance(session, str)
        return session


async def until_filled(http: aiohttp.ClientSession, url: str, session: str, size: Size) -> None:
    """Wait, event by event, until the dashboard has the whole hive."""
    headers = {"Hyperhive-Session": session}
    async with asyncio.timeout(120), http.get(f"{url}/api/events", headers=headers) as stream:
        while True:
            async with http.get(f"{url}/api/state", headers=headers) as answer:
                tables = (await answer.json())["tables"]
            if (
                len(tables["agents"]) == size.agents
                and len(tables["questions"]) == size.questions
                and len(tables["messages"]) > 0
            ):
                return
            await stream.content.readuntil(b"\n\n")


def filled(size: Size) -> FakeHive:
    """Return a hive of that size, which is the same in every run."""
    chance = random.Random(7)
    hive = FakeHive()
    names = [f"agent{number}" for number in range(size.agents)]
    hive.agents = {name: FakeAgent(name, chance.choice(("running", "stopped"))) for name in names}
    for agent in hive.agents.values():
        agent.shown = agent.shown._replace(activity=text(chance, 8), turn_reason=text(chance, 8))
    broker = hive.broker
    for _ in range(size.messages):
        to = "operator" if chance.random() < 0.05 else chance.choice(names)
        number = broker.add(chance.choice(names), to, text(chance, chance.randint(5, 60)))
        # A dozen messages wait for the operator.
        if to != "operator" or number < size.messages * 0.98:
            known = broker.log[number - 1]
            broker.log[number - 1] = known._replace(state=MessageState.ACKNOWLEDGED)
    for number in range(size.questions):
        choices = ("yes", "no", "later") if number % 2 else ()
        broker.ask(chance.choice(names), "operator", text(chance, 30), *choices)
    for name in names[:6]:
        hive.approvals.ask(name, text(chance, 12))
    return hive


def text(chance: random.Random, words: int) -> str:
    """Return a text of so many words."""
    return " ".join(chance.choice(WORDS) for _ in range(words))


@dataclass(slots=True)
class Program:
    """A process that was started with a module of this bench."""

    process: asyncio.subprocess.Process

    async def line(self) -> str:
        """Return its next line."""
        assert self.process.stdout is not None
        async with asyncio.timeout(60):
            return (await self.process.stdout.readline()).decode().strip()

    def write(self, line: str) -> None:
        """Write a line to it."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())

    async def finish(self) -> list[float]:
        """End its input, and return the times that it prints."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        found = json.loads(await self.line())
        assert isinstance(found, list)
        return found


@asynccontextmanager
async def program(*command: str) -> AsyncIterator[Program]:
    """Run a module of this bench."""
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-B", "-m", *command),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=64 * 2**20,
        cwd=REPO,
        env=os.environ,
    )
    try:
        yield Program(running)
    finally:
        if running.returncode is None:
            running.terminate()
        await running.wait()
