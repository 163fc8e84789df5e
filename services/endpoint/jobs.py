"""Jobs of lifecycle: order one, and wait for how it ends."""

import asyncio
from dataclasses import dataclass
from typing import Final

from services.endpoint.calls import Calls
from wire import names
from wire.errors import NotFound, Timeout, Unavailable
from wire.signals import SignalStream

JOB_SECONDS: Final = 90.0
"""How long a start, stop, restart or update of a container is waited for."""


@dataclass(frozen=True, slots=True)
class JobResult:
    """How a job ended: done, failed or cancelled, with a sentence when it is not done."""

    result: str
    error: str


async def run_job(calls: Calls, agent: str, member: str) -> JobResult:
    """Start, Stop, Restart or Update `agent`, and wait for how that ends.

    Raises NotFound for an agent that is not there, Timeout when the job has not ended after
    JOB_SECONDS (it goes on all the same), and Unavailable when lifecycle ends before the job does.
    """
    lost = calls.lifecycle_lost
    # Subscribed before the call: a short job has ended before its path is known here.
    async with calls.bus.subscribe(
        sender=names.LIFECYCLE,
        path=names.LIFECYCLE_PATH,
        interface=names.LIFECYCLE,
        member="JobRemoved",
    ) as signals:
        try:
            job = await calls.agent(agent, member)
        except NotFound:
            raise no_agent(agent) from None
        ending = asyncio.create_task(_end_of(job, signals), name=f"{member}-{agent}")
        try:
            await asyncio.wait(
                {ending, lost}, timeout=JOB_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            if ending.done():
                return ending.result()
        finally:
            ending.cancel()
            await asyncio.wait({ending})
    if lost.done():
        raise Unavailable(
            f"Lifecycle was restarted before {member} of {agent} ended; list_agents shows what"
            " has become of it."
        )
    raise Timeout(
        f"{member} of {agent} has not ended after {JOB_SECONDS:.0f} s and goes on;"
        " list_agents shows what becomes of it."
    )


def no_agent(name: str) -> NotFound:
    """What is answered for an agent that lifecycle has no object of."""
    return NotFound(f"There is no agent {name}; list_agents shows who there is.")


async def _end_of(job: str, removed: SignalStream) -> JobResult:
    """How `job` ends, of all those whose end is told."""
    async for signal in removed:
        if signal.args[1] == job:
            return JobResult(result=signal.args[4], error=signal.args[5])
    raise Unavailable("The connection to the bus was lost.")
