"""Spawns agents all at once, and purges them all at once, as root in the host:

`python -m bench.lifecycle.many NUMBER [SECONDS]`; they are idle for SECONDS in between. Its last
line is JSON: seconds, and the failures.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable
from time import monotonic
from typing import Final, TypedDict

from bench.lifecycle import audit, bare, weigh
from bench.lifecycle.audit import Fate
from bench.lifecycle.orders import Orders, orders
from services.lifecycle.jobs.containers import STARTS_AT_ONCE
from wire.records.lifecycle import JobRemoved, JobResult, SpawnOptions, TurnState

SETTLING: Final = 10.0
"""Seconds in which the hive completes the work after a spawn: repositories, messages."""


class Many(TypedDict, total=False):
    """The outcome: seconds until all are READY, stopped, and gone, and those of the floor.

    Without idle seconds, `stopped`, `bare` and `idle` are left out.
    """

    ready: float
    stopped: float
    bare: float
    gone: float
    idle: weigh.Rates
    wrong: list[str]
    """The failures, and the findings of the audit."""


async def all_at_once(
    orders: Orders, asked: list[Awaitable[str]]
) -> tuple[float, list[JobRemoved], list[str]]:
    """Give all orders, and wait until the last job has ended.

    Returns:
        The seconds that took, the jobs that are done, and why others failed.
    """
    began = monotonic()
    ended = await asyncio.gather(*[_ended(orders, order) for order in asked])
    done = [one for one in ended if one.result is JobResult.DONE]
    failed = [
        f"{one.verb} of {one.agent}: {one.note}"
        for one in ended
        if one.result is not JobResult.DONE
    ]
    return monotonic() - began, done, failed


async def _ended(orders: Orders, order: Awaitable[str]) -> JobRemoved:
    return await orders.end(await order)


async def idle(orders: Orders, agents: list[str], seconds: int) -> weigh.Rates:
    """Return what the hive uses in so many idle seconds."""
    await asyncio.gather(*[orders.until(agent, "TurnState", TurnState.IDLE) for agent in agents])
    # No one event says that all services are idle.
    await asyncio.sleep(SETTLING)
    return await weigh.rest(seconds)


async def bare_at_once(orders: Orders, agents: list[str]) -> float:
    """Return the seconds until the containers of stopped agents are READY, as many at a time as
    lifecycle starts, but without it.
    """
    turns = asyncio.Semaphore(STARTS_AT_ONCE)

    async def start(agent: str) -> None:
        async with turns:
            await bare.start(agent)

    began = monotonic()
    await asyncio.gather(*map(start, agents))
    took = monotonic() - began
    await asyncio.gather(*map(bare.stop, agents))
    return took


async def main(number: int, seconds: int = 0) -> Many:
    """Spawn `number` agents, let them idle for `seconds`, and purge them."""
    agents = [f"n{i:02}" for i in range(number)]
    found: Many = {}
    async with orders() as given:
        spawns = [given.lifecycle.spawn(agent, SpawnOptions()) for agent in agents]
        found["ready"], spawned, wrong = await all_at_once(given, list(spawns))
        here = [one.agent for one in spawned]
        wrong += await audit.wrong(given, dict.fromkeys(here, Fate.RUNNING))
        if seconds:
            found["idle"] = await idle(given, here, seconds)
            stops = [given.agent(agent).stop() for agent in here]
            found["stopped"], _, failed = await all_at_once(given, list(stops))
            wrong += failed + await audit.wrong(given, dict.fromkeys(here, Fate.STOPPED))
            found["bare"] = await bare_at_once(given, here)
        ends = [given.lifecycle.destroy(agent, True) for agent in here]
        found["gone"], _, failed = await all_at_once(given, list(ends))
        wrong += failed + await audit.wrong(given, dict.fromkeys(agents, Fate.GONE))
    found["wrong"] = wrong
    return found


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(*map(int, sys.argv[1:])))))
