"""Agents that are spawned all at once, and purged all at once, as root in the host:

`python -m bench.lifecycle.many NUMBER [SECONDS]`; SECONDS they are idle meanwhile. Its last line
is JSON: seconds, and what did not end well.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable
from time import monotonic
from typing import Any

from bench.lifecycle import audit
from bench.lifecycle.audit import Fate
from bench.lifecycle.measure import wakeups
from bench.lifecycle.orders import Ended, Orders, orders


async def all_at_once(
    orders: Orders, asked: list[Awaitable[Any]]
) -> tuple[float, list[Ended], list[str]]:
    """Give all orders, and wait until the last job has ended.

    Returns the seconds that took, the jobs that are done, and why others failed.
    """
    began = monotonic()
    ended = await asyncio.gather(*[_ended(orders, order) for order in asked])
    done = [one for one in ended if one.result == "done"]
    failed = [f"{one.verb} of {one.agent}: {one.note}" for one in ended if one.result != "done"]
    return monotonic() - began, done, failed


async def _ended(orders: Orders, order: Awaitable[Any]) -> Ended:
    return await orders.end(await order)


async def main(number: int, seconds: int = 0) -> dict[str, Any]:
    """`number` agents come, are idle for `seconds`, and go."""
    agents = [f"n{i:02}" for i in range(number)]
    async with orders() as given:
        spawns = [given.manager("Spawn", "sa{sv}", agent, {}) for agent in agents]
        ready, spawned, wrong = await all_at_once(given, list(spawns))
        here = [one.agent for one in spawned]
        wrong += await audit.wrong(given, dict.fromkeys(here, Fate.RUNNING))
        idle = await wakeups(given, seconds) if seconds else {}
        ends = [given.manager("Destroy", "sb", agent, True) for agent in here]
        gone, _, failed = await all_at_once(given, list(ends))
        wrong += failed + await audit.wrong(given, dict.fromkeys(agents, Fate.GONE))
    return {"ready": ready, "gone": gone, "wakeups": idle, "wrong": wrong}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(*map(int, sys.argv[1:])))))
