"""Jobs of lifecycle: start a job, and wait for its result."""

import asyncio
from dataclasses import dataclass
from typing import Final

from services.endpoint.clients.caller import ServiceCaller
from wire import names
from wire.errors import NotFound, Timeout, Unavailable
from wire.signals import SignalStream

JOB_SECONDS: Final = 90.0
"""Seconds to wait for a start, stop, restart or update of a container."""


@dataclass(frozen=True, slots=True)
class JobResult:
    """The result of a job: done, failed or cancelled, with a sentence unless it is done."""

    result: str
    error: str


async def run_job(caller: ServiceCaller, agent: str, method: str) -> JobResult:
    """Call Start, Stop, Restart or Update of `agent`, and wait for the job's result.

    Raises:
        NotFound: There is no such agent.
        Timeout: The job has not ended after JOB_SECONDS; it goes on.
        Unavailable: Lifecycle ended before the job did.
    """
    lost = caller.lifecycle_lost
    # Subscribe before the call: a short job may end before its path is known here.
    async with caller.bus.subscribe(
        sender=names.LIFECYCLE,
        path=names.LIFECYCLE_PATH,
        interface=names.LIFECYCLE,
        member="JobRemoved",
    ) as signals:
        try:
            job = await caller.agent(agent, method)
        except NotFound:
            raise no_agent(agent) from None
        ending = asyncio.create_task(_result_of(job, signals), name=f"{method}-{agent}")
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
            f"Lifecycle was restarted before {method} of {agent} ended; list_agents shows the"
            " agent's state."
        )
    raise Timeout(
        f"{method} of {agent} has not ended after {JOB_SECONDS:.0f} s and goes on;"
        " list_agents shows the agent's state."
    )


def no_agent(name: str) -> NotFound:
    """Return the error for an agent that lifecycle has no object of."""
    return NotFound(f"There is no agent {name}; list_agents lists the agents.")


async def _result_of(job: str, removed: SignalStream) -> JobResult:
    """Return the result of `job`, from the signals about all jobs."""
    async for signal in removed:
        if signal.args[1] == job:
            return JobResult(result=signal.args[4], error=signal.args[5])
    raise Unavailable("The connection to the bus was lost.")
