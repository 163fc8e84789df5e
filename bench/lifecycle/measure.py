"""Times in the host, measured as root: `python -m bench.lifecycle.measure WHAT NUMBER`.

WHAT is `starts`, `wakes` or `crashes`; its last line is JSON, a list of seconds for each figure.
"""

import asyncio
import json
import os
import signal
import sys
from collections import defaultdict
from collections.abc import Awaitable
from time import monotonic, time_ns
from typing import Final

from bench.lifecycle import bare
from bench.lifecycle.orders import Orders, orders
from services.lifecycle.notices import crash
from wire import names
from wire.clients import machined
from wire.clients.broker import BrokerClient, message_changes
from wire.clients.systemd import ManagerClient
from wire.records.broker import MessageState, SendOptions
from wire.records.lifecycle import AgentState, JobVerb
from wire.signals import SignalStream

AGENT: Final = "bench"
SLEEPER: Final = "sleeper"
"""An agent whose configuration puts it to sleep after a second."""
LIMIT: Final = 120.0

Times = dict[str, list[float]]


async def starts(given: Orders, number: int) -> Times:
    """Measure a spawn, a stop, a start and a stop, and in turn the bare container."""
    times: Times = defaultdict(list)
    agent = given.agent(AGENT)
    for _ in range(number):
        times["spawn"].append(await given.spawn(AGENT))
        times["stop"].append(await _timed(given, agent.stop()))
        times["bare start"].append(await bare.start(AGENT))
        times["bare stop"].append(await bare.stop(AGENT))
        times["start"].append(await _timed(given, agent.start()))
        times["destroy"].append(await given.purge(AGENT))
    return times


async def wakes(given: Orders, number: int) -> Times:
    """Measure from the Send to a sleeping agent until READY, and until its harness has it."""
    await given.spawn(SLEEPER)
    times: Times = defaultdict(list)
    for _ in range(number):
        for what, seconds in (await _wake(given)).items():
            times[what].append(seconds)
    await given.purge(SLEEPER)
    return times


async def _wake(given: Orders) -> dict[str, float]:
    bus = given.bus
    broker = BrokerClient(bus)
    async with (
        bus.subscribe(interface=names.BROKER, member="MessagesChanged") as told,
        asyncio.timeout(LIMIT),
    ):
        await given.until(SLEEPER, "State", AgentState.SLEEPING)
        await given.until_last(SLEEPER, JobVerb.SLEEP)  # its endpoint has ended, too
        began = monotonic()
        number = await broker.send(SLEEPER, "are you up?", SendOptions())
        delivered = asyncio.create_task(_delivered(told, number))
        await given.until(SLEEPER, "State", AgentState.RUNNING)
        return {"ready": monotonic() - began, "delivered": await delivered - began}


async def _delivered(told: SignalStream, number: int) -> float:
    """Return when the message is delivered; one of an earlier turn may come before it."""
    async for change in message_changes(told):
        if change.id == number and change.state is not MessageState.QUEUED:
            return monotonic()
    raise RuntimeError("the bus ended")


async def crashes(given: Orders, number: int) -> Times:
    """Measure from a kill of the container's init until a bare listener hears of the machine's
    end, and until the message is in the manager's inbox.
    """
    await given.spawn(AGENT)
    times: Times = defaultdict(list)
    for _ in range(number):
        for what, seconds in (await _crash(given)).items():
            times[what].append(seconds)
        # Or systemd would soon give up on it.
        await ManagerClient(given.bus).reset_failed_unit(UNIT)
    await given.purge(AGENT)
    return times


UNIT: Final = f"systemd-nspawn@{names.machine_name(AGENT)}.service"


async def _crash(given: Orders) -> dict[str, float]:
    bus = given.bus
    path = await machined.ManagerClient(bus).get_machine(names.machine_name(AGENT))
    machine = await machined.MachineClient(bus, path).properties()
    async with (
        bus.subscribe(interface=machined.MANAGER, member="MachineRemoved") as removed,
        bus.subscribe(interface=names.BROKER, member="MessagesChanged") as queued,
        asyncio.timeout(LIMIT),
    ):
        since, began = time_ns() // 1000, monotonic()
        os.kill(machine.leader, signal.SIGKILL)
        gone, told = asyncio.create_task(_at(removed)), asyncio.create_task(_queued(queued, since))
        times = {"removed": await gone - began, "queued": await told - began}
    await given.until(AGENT, "State", AgentState.RUNNING)
    return times


async def _at(signals: SignalStream) -> float:
    """Return when the first of them comes."""
    await anext(signals)
    return monotonic()


async def _queued(signals: SignalStream, since: int) -> float:
    """Return when a message to the manager about a crash is announced, queued after `since`.

    One about the spawn may come before it. A manager that is quick has the message leased in the
    first row that tells of it. `since` is in microseconds since 1970.
    """
    async for change in message_changes(signals):
        wanted = (names.MANAGER, crash.KIND)
        if (change.recipient, change.kind) == wanted and change.queued >= since:
            return monotonic()
    raise RuntimeError("the bus ended")


async def _timed(given: Orders, order: Awaitable[str]) -> float:
    """Return the seconds that the job of `order` takes."""
    began = monotonic()
    await given.done(await order)
    return monotonic() - began


async def main(what: str, number: int) -> Times:
    """Run one of the measurements."""
    async with orders() as given:
        return await {"starts": starts, "wakes": wakes, "crashes": crashes}[what](given, number)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1], int(sys.argv[2])))))
