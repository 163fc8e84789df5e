"""Times in the host, measured as root: `python -m bench.lifecycle.measure WHAT NUMBER`.

WHAT is `starts`, `wakes` or `crashes`; its last line is JSON, a list of seconds for each figure.
"""

import asyncio
import json
import os
import signal
import sys
from collections import defaultdict
from time import monotonic
from typing import Any, Final

from bench.lifecycle import bare
from bench.lifecycle.audit import MACHINED, MACHINED_MANAGER, SYSTEMD_MANAGER
from bench.lifecycle.orders import Orders, orders
from wire import names
from wire.clients.broker import message_changes
from wire.records.broker import MessageState
from wire.signals import SignalStream

AGENT: Final = "bench"
SLEEPER: Final = "sleeper"
"""An agent whose configuration puts it to sleep after a second."""
LIMIT: Final = 120.0

Times = dict[str, list[float]]


async def starts(given: Orders, number: int) -> Times:
    """Measure a spawn, a stop, a start and a stop, and in turn the bare container."""
    times: Times = defaultdict(list)
    for _ in range(number):
        times["spawn"].append(await given.spawn(AGENT))
        times["stop"].append(await _timed(given, "Stop"))
        times["bare start"].append(await bare.start(AGENT))
        times["bare stop"].append(await bare.stop(AGENT))
        times["start"].append(await _timed(given, "Start"))
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
    broker = (names.BROKER, names.BROKER_PATH, names.BROKER)
    async with (
        bus.subscribe(interface=names.BROKER, member="MessagesChanged") as told,
        asyncio.timeout(LIMIT),
    ):
        await given.until(SLEEPER, "State", "sleeping")
        await given.until_last(SLEEPER, "sleep")  # its endpoint has ended, too
        began = monotonic()
        number = await bus.call1(*broker, "Send", "ssa{sv}", SLEEPER, "are you up?", {})
        delivered = asyncio.create_task(_delivered(told, number))
        await given.until(SLEEPER, "State", "running")
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
        await given.bus.call(*SYSTEMD_MANAGER, "ResetFailedUnit", "s", UNIT)
    await given.purge(AGENT)
    return times


UNIT: Final = f"systemd-nspawn@{names.machine_name(AGENT)}.service"


async def _crash(given: Orders) -> dict[str, float]:
    bus = given.bus
    machine = await bus.call1(*MACHINED_MANAGER, "GetMachine", "s", names.machine_name(AGENT))
    interface = f"{MACHINED}.Machine"
    leader = await bus.call1(MACHINED, machine, names.PROPERTIES, "Get", "ss", interface, "Leader")
    async with (
        bus.subscribe(interface=MACHINED_MANAGER[2], member="MachineRemoved") as removed,
        bus.subscribe(interface=names.BROKER, member="MessagesChanged") as queued,
        asyncio.timeout(LIMIT),
    ):
        began = monotonic()
        os.kill(leader, signal.SIGKILL)
        gone, told = asyncio.create_task(_at(removed)), asyncio.create_task(_queued(queued))
        times = {"removed": await gone - began, "queued": await told - began}
    await given.until(AGENT, "State", "running")
    return times


async def _at(signals: Any) -> float:
    """Return when the first of them comes."""
    await anext(signals)
    return monotonic()


async def _queued(signals: SignalStream) -> float:
    """Return when a message to the manager is queued."""
    async for change in message_changes(signals):
        if change.recipient == names.MANAGER and change.state is MessageState.QUEUED:
            return monotonic()
    raise RuntimeError("the bus ended")


async def _timed(given: Orders, member: str) -> float:
    began = monotonic()
    await given.done(await given.agent(AGENT, member))
    return monotonic() - began


async def main(what: str, number: int) -> Times:
    """Run one of the measurements."""
    async with orders() as given:
        return await {"starts": starts, "wakes": wakes, "crashes": crashes}[what](given, number)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1], int(sys.argv[2])))))
