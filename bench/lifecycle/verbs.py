"""Random orders of several clients at once, as root in the host:

`python -m bench.lifecycle.verbs SECONDS CLIENTS SEED`.

Each client is a connection of its own, which gives random orders and waits for the end of each job,
or cancels it. At the end each agent must be in the state of its last job, and nothing else may be
left on the host. Its last line is JSON.
"""

import asyncio
import json
import random
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from time import monotonic
from typing import Final

from bench.lifecycle import audit
from bench.lifecycle.audit import Fate
from bench.lifecycle.orders import Orders, orders
from wire import names
from wire.clients.broker import BrokerClient
from wire.clients.lifecycle import JobClient
from wire.errors import AlreadyExists, Conflict, HiveError, NotFound
from wire.records.broker import MessageFilter
from wire.records.lifecycle import JobRemoved, JobResult, JobVerb, SpawnOptions

AGENTS: Final = ("v1", "v2", "v-3", "v4", "v5")
CANCELLED: Final = 0.15
"""The fraction of orders that the client cancels at once."""

Order = Callable[[Orders, str], Awaitable[str]]

ORDERS: Final[dict[str, Order]] = {
    "spawn": lambda orders, agent: orders.lifecycle.spawn(agent, SpawnOptions()),
    "destroy": lambda orders, agent: orders.lifecycle.destroy(agent, False),
    "destroy and purge": lambda orders, agent: orders.lifecycle.destroy(agent, True),
    "purge": lambda orders, agent: orders.lifecycle.purge_tombstone(agent),
    "start": lambda orders, agent: orders.agent(agent).start(),
    "stop": lambda orders, agent: orders.agent(agent).stop(),
    "restart": lambda orders, agent: orders.agent(agent).restart(),
    "rebuild": lambda orders, agent: orders.agent(agent).rebuild(),
    "update": lambda orders, agent: orders.agent(agent).update(),
}
WEIGHTS: Final = (6, 1, 1, 1, 2, 2, 3, 1, 1)
EXPECTED: Final = (AlreadyExists, Conflict, NotFound)
"""Errors that refuse such orders, because other ones are in progress, or have ended."""


class Fates:
    """The state of each agent, derived from the ends of the jobs."""

    def __init__(self) -> None:
        self.purged: set[str] = set()
        """Jobs that destroy an agent with all that is kept of it."""
        self.wrong: list[str] = []

    def after(self, ended: list[JobRemoved]) -> dict[str, Fate]:
        """Return the fates after all these jobs; note which of them should not have failed."""
        fates = dict.fromkeys(AGENTS, Fate.GONE)
        for one in ended:
            if one.agent in fates and one.result is JobResult.DONE:
                fates[one.agent] = self._after(fates[one.agent], one)
            elif one.agent in fates and one.result is JobResult.FAILED:
                self.wrong.append(f"{one.verb} of {one.agent} failed: {one.note}")
        return fates

    def _after(self, before: Fate, ended: JobRemoved) -> Fate:
        if ended.verb in (JobVerb.SPAWN, JobVerb.START, JobVerb.RESTART):
            return Fate.RUNNING
        if ended.verb is JobVerb.STOP:
            return Fate.STOPPED
        if ended.verb is JobVerb.PURGE or ended.job in self.purged:
            return Fate.GONE
        return Fate.KEPT if ended.verb is JobVerb.DESTROY else before


class Client:
    """A client that gives random orders until the time is over."""

    def __init__(self, orders: Orders, seed: str, fates: Fates) -> None:
        self._orders = orders
        self._chance = random.Random(seed)
        self._fates = fates
        self.count: Counter[str] = Counter()

    async def run(self, until: float) -> None:
        """Give orders, one after the other."""
        while monotonic() < until:
            try:
                await self._order()
            except EXPECTED as refusal:
                self.count[f"refused with {type(refusal).__name__}"] += 1
                # The next one may be refused as well: let the others go on.
                await asyncio.sleep(0.02)
            except HiveError as error:
                self._fates.wrong.append(f"{type(error).__name__}: {error}")

    async def _order(self) -> None:
        agent = self._chance.choice(AGENTS)
        [what] = self._chance.choices(list(ORDERS), WEIGHTS)
        if self._chance.random() < CANCELLED / 2:
            return await self._pause(agent)
        job = await ORDERS[what](self._orders, agent)
        if what == "destroy and purge":
            self._fates.purged.add(job)
        if self._chance.random() < CANCELLED:
            # A job is cancelled at any moment.
            await asyncio.sleep(self._chance.random() * 2)
            await self._cancel(job)
        ended = await self._orders.end(job)
        self.count[f"{ended.verb} {ended.result}"] += 1
        return None

    async def _cancel(self, job: str) -> None:
        try:
            await JobClient(self._orders.bus, job).cancel()
        except EXPECTED:
            return  # it is over, or too late

    async def _pause(self, agent: str) -> None:
        client = self._orders.agent(agent)
        for change in (client.pause, client.resume):
            await change()
            # A pause lasts for a while.
            await asyncio.sleep(self._chance.random() / 2)
        self.count["pause and resume"] += 1


async def main(seconds: float, clients: int, seed: str) -> dict[str, object]:
    """Run, and return what is wrong afterwards; the agents are gone again."""
    fates = Fates()
    async with AsyncExitStack() as stack:
        given = [await stack.enter_async_context(orders()) for _ in range(clients)]
        crew = [Client(one, f"{seed} {i}", fates) for i, one in enumerate(given)]
        until = monotonic() + seconds
        await asyncio.gather(*(client.run(until) for client in crew))
        witness = given[0]
        after = fates.after(witness.ended)
        for agent, fate in after.items():
            if fate is Fate.RUNNING:  # a Pause may have come after the last Resume of another
                await witness.agent(agent).resume()
        wrong = fates.wrong + await audit.wrong(witness, after)
        wrong += await _crashes(witness)
        await _clear(witness, after)
    count = sum((client.count for client in crew), Counter[str]())
    return {"wrong": wrong, "count": count, "jobs": len(witness.ended), "fates": after}


async def _crashes(orders: Orders) -> list[str]:
    """Return crash messages about these agents; a job explains each end, so there are none."""
    wanted = MessageFilter(recipient=names.MANAGER, kind="container-crash")
    messages = await BrokerClient(orders.bus).list_messages(wanted, 1000)
    told = [message.body for message in messages]
    return [body for body in told if any(f"of {agent} " in body for agent in AGENTS)]


async def _clear(orders: Orders, fates: dict[str, Fate]) -> None:
    for agent, fate in fates.items():
        if fate is not Fate.GONE:
            await orders.end(await orders.lifecycle.destroy(agent, True))


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(float(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))))
