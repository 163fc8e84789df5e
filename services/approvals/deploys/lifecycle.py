"""The part of lifecycle that approvals uses."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from wire.records.lifecycle import JobVerb


@dataclass(frozen=True, slots=True)
class Job:
    """A running job of lifecycle."""

    verb: JobVerb
    path: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The agents and the jobs at one moment."""

    agents: Mapping[str, str] = field(default_factory=dict)
    """The commit that each agent has deployed; empty: none ever was."""
    jobs: Mapping[str, Job] = field(default_factory=dict)
    """The running job of each agent that has one."""


class Lifecycle(Protocol):
    """The calls. An error that lifecycle answers is raised."""

    async def snapshot(self) -> Snapshot:
        """Return the agents and the jobs that there are now."""

    async def running(self) -> bool:
        """Return whether lifecycle runs, without starting it: that would start the containers."""

    async def tombstones(self) -> frozenset[str]:
        """Return the destroyed agents whose state is kept."""

    async def spawn(self, agent: str, commit: str) -> str:
        """Order a new agent with that configuration; return the path of the job."""

    async def deploy(self, agent: str, commit: str, *, now: bool, changes: str) -> str:
        """Order another configuration; return the path of the job.

        Args:
            now: do not wait for the end of the agent's turn.
        """

    async def hurry(self, job: str) -> None:
        """Stop waiting for the end of the turn in the job of a deploy."""
