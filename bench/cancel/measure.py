"""Turns that are cancelled on the page, measured as root in the host:

`python -m bench.cancel.measure TURNS`. Its last line is JSON.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Final, Self
from urllib.parse import parse_qs, urlsplit

from aiohttp import ClientSession

from bench.lifecycle.orders import Orders, orders
from wire import names
from wire.agent_web.client import AgentWeb
from wire.clients.broker import BrokerClient
from wire.clients.dashboard import DashboardClient
from wire.records.broker import SendOptions
from wire.records.dashboard import Role

AGENT: Final = "alice"
STATE: Final = Path("/var/lib/hyperhive/agents/alice/state")
FIFO: Final = "bench-running"
COMMAND: Final = f"run echo > /state/{FIFO}; tail -f /dev/null"
STORY: Final = "play long-story"
LIMIT: Final = 120.0

Figures = dict[str, list[float]]


class Page:
    """The page of the operator, on one connection as in a browser."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session

    @classmethod
    @asynccontextmanager
    async def logged_in(cls, given: Orders) -> AsyncIterator[Self]:
        """Log in with a new link."""
        link = urlsplit(await DashboardClient(given.bus).login_link(Role.OPERATOR))
        origin = f"http://{link.netloc}"
        async with ClientSession(origin, headers={"Origin": origin}) as session:
            token = parse_qs(link.fragment)["token"][0]
            async with session.post("/login", json={"token": token}) as answer:
                session.headers["Hyperhive-Session"] = (await answer.json())["session"]
            yield cls(session)

    async def cancel(self) -> int:
        """Press `Cancel`; return the status of the answer."""
        async with self._session.post(f"/api/agents/{AGENT}/cancel", json={}) as answer:
            await answer.read()
            return answer.status


async def cancelled(given: Orders, page: Page) -> float:
    """Cancel the turn that runs; return the seconds until lifecycle shows it as over."""
    await given.until(AGENT, "TurnState", "thinking")
    path = names.agent_path(AGENT)
    async with (
        asyncio.timeout(LIMIT),
        given.bus.subscribe(path=path, member="PropertiesChanged") as changed,
    ):
        began = monotonic()
        answer = asyncio.create_task(page.cancel(), name="cancel")
        while await given.agent(AGENT).get("TurnState") != "idle":
            await anext(changed)
        took = monotonic() - began
        if (status := await answer) != 200:
            raise RuntimeError(f"the dashboard answered {status}")
    return took


async def run_a_command(given: Orders) -> None:
    """Have the agent run a command; return when it runs."""
    loop, written = asyncio.get_running_loop(), asyncio.Event()
    descriptor = os.open(STATE / FIFO, os.O_RDONLY | os.O_NONBLOCK)
    loop.add_reader(descriptor, written.set)
    try:
        await BrokerClient(given.bus).send(AGENT, COMMAND, SendOptions())
        async with asyncio.timeout(LIMIT):
            await written.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


async def stream_an_answer(given: Orders) -> None:
    """Have the agent's model write a long answer; return when a part of it is there."""
    async with asyncio.timeout(LIMIT), aclosing(AgentWeb().stream(AGENT)) as stream:
        await anext(stream)  # it is connected
        await BrokerClient(given.bus).send(AGENT, STORY, SendOptions())
        async for name, _ in stream:
            if name == "partial":
                return


async def floor(page: Page) -> float:
    """Cancel while no turn runs; return the seconds until the harness has refused that."""
    began = monotonic()
    if (status := await page.cancel()) != 409:
        raise RuntimeError(f"the dashboard answered {status} although no turn runs")
    return monotonic() - began


async def main(turns: int) -> Figures:
    """Cancel so many turns of each kind; return the seconds that each took."""
    (STATE / FIFO).unlink(missing_ok=True)
    os.mkfifo(STATE / FIFO)
    (STATE / FIFO).chmod(0o666)
    found: Figures = {"floor": [], "command": [], "answer": []}
    try:
        async with orders() as given, Page.logged_in(given) as page:
            for _ in range(turns):
                await run_a_command(given)
                found["command"].append(await cancelled(given, page))
                await stream_an_answer(given)
                found["answer"].append(await cancelled(given, page))
                found["floor"].append(await floor(page))
    finally:
        (STATE / FIFO).unlink()
    return found


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(int(sys.argv[1])))))
