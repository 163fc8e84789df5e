"""Jobs of lifecycle: start a job, and wait for its end."""

import asyncio
from typing import Final

from wire import names
from wire.bus import Bus
from wire.caller import Caller
from wire.clients.lifecycle import AgentClient
from wire.errors import HiveError, NotFound, Timeout, Unavailable
from wire.records.codec import decode
from wire.records.lifecycle import JobRemoved, JobVerb
from wire.signals import SignalStream

JOB_SECONDS: Final = 90.0
"""Seconds to wait for a start, stop, restart or update of a container."""

_METHODS: Final = {
    JobVerb.START: AgentClient.start,
    JobVerb.STOP: AgentClient.stop,
    JobVerb.RESTART: AgentClient.restart,
    JobVerb.UPDATE: AgentClient.update,
}


class Jobs:
    """The jobs that this endpoint starts."""

    def __init__(self, bus: Bus, caller: Caller) -> None:
        self._bus = bus
        self._caller = caller
        self._lifecycle_lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the running lifecycle ends; it is then replaced by a new future."""

    def lifecycle_went(self) -> None:
        """Note that lifecycle has ended, and with it the wait for its jobs."""
        self._lifecycle_lost.set_result(None)
        self._lifecycle_lost = asyncio.get_running_loop().create_future()

    async def run(self, agent: str, verb: JobVerb) -> JobRemoved:
        """Start, stop, restart or update `agent`; return the end of that job.

        Raises:
            Conflict: lifecycle is of another version, and the result is not known to this one.
            NotFound: there is no such agent.
            Timeout: the job has not ended after JOB_SECONDS; it goes on.
            Unavailable: lifecycle ended before the job did.
        """
        lost = self._lifecycle_lost
        # Subscribe before the call: a short job may end before its path is known here.
        async with self._bus.subscribe(
            sender=names.LIFECYCLE,
            path=names.LIFECYCLE_PATH,
            interface=names.LIFECYCLE,
            member="JobRemoved",
        ) as signals:
            try:
                job = await _METHODS[verb](AgentClient(self._caller, names.agent_path(agent)))
            except NotFound:
                raise no_agent(agent) from None
            ending = asyncio.create_task(_end_of(job, signals), name=f"{verb}-{agent}")
            try:
                await asyncio.wait(
                    (ending, lost), timeout=JOB_SECONDS, return_when=asyncio.FIRST_COMPLETED
                )
                if ending.done():
                    return ending.result()
            finally:
                ending.cancel()
                await asyncio.wait({ending})
        if lost.done():
            raise Unavailable(
                f"Lifecycle was restarted before the {verb} of {agent} ended; list_agents shows"
                " the agent's state."
            )
        raise Timeout(
            f"The {verb} of {agent} has not ended after {JOB_SECONDS:.0f} s and goes on;"
            " list_agents shows the agent's state."
        )


def no_agent(name: str) -> NotFound:
    """Return the error for an agent that lifecycle has no object of."""
    return NotFound(f"There is no agent {name}; list_agents lists the agents.")


async def _end_of(job: str, removed: SignalStream) -> JobRemoved:
    """Return the end of `job`, from the signals about all jobs.

    Raises:
        Conflict: lifecycle is of another version, and the result is not known to this one.
        Unavailable: the connection to the bus was lost.
    """
    async for signal in removed:
        try:
            ended = decode(JobRemoved, signal.args)
        except HiveError:
            if job in signal.args:
                raise
            continue  # another agent's job, of a kind that only a newer lifecycle has
        if ended.job == job:
            return ended
    raise Unavailable("The connection to the bus was lost.")
