"""The time until a new configuration is deployed, measured as root in the host:

`python -m bench.deploy.measure NUMBER`.

Its last line is JSON, a list of seconds for each figure.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from time import monotonic
from typing import Final

from bench.lifecycle import bare
from bench.lifecycle.orders import Orders, orders
from services.agentfile import NAME as FILE
from wire import names
from wire.clients.approvals import ApprovalsClient
from wire.records import decode
from wire.records.approvals import (
    ApplyRequestOptions,
    ApprovalFilter,
    ApprovalOptions,
    ApprovalResolved,
    ApprovalState,
    SpawnRequestOptions,
)

AGENT: Final = "bench"
GIT: Final = Path("/var/lib/hyperhive/git")
SETTINGS: Final = Path("/run/bench.gitconfig")
LIMIT: Final = 120.0

Times = dict[str, list[float]]


class Proposals:
    """The manager's working copy of one agent's configuration, as its container would make it."""

    def __init__(self, agent: str) -> None:
        self._folder = GIT / "proposed" / agent
        if not self._folder.exists():
            self._git("clone", "--quiet", str(GIT / "applied" / agent), str(self._folder), at="/")

    def commit(self, text: str) -> str:
        """Commit a configuration on top of the last one; return its sha."""
        (self._folder / FILE).write_text(text)
        self._git("commit", "--quiet", "--all", "--message=Measure it")
        return self._git("rev-parse", "HEAD")

    def _git(self, *arguments: str, at: str = "") -> str:
        # The repositories belong to others; git reads no such setting from its command line.
        SETTINGS.write_text(
            "[safe]\ndirectory = *\n[user]\nname = bench\nemail = bench@hive.invalid\n"
        )
        command = ["git", "-C", at or str(self._folder), *arguments]
        environment = os.environ | {"GIT_CONFIG_GLOBAL": str(SETTINGS)}
        done = subprocess.run(
            command, env=environment, check=True, stdout=subprocess.PIPE, text=True
        )
        return done.stdout.strip()


class Approvals:
    """The operator, who approves requests."""

    def __init__(self, given: Orders) -> None:
        self._given = given
        self._bus = given.bus
        self.client = ApprovalsClient(given.bus)

    async def approve(self, number: int) -> dict[str, float]:
        """Approve it; return the seconds until its job is done (`ready`), and until it is recorded
        as deployed (`recorded`).
        """
        [request] = await self.client.list_approvals(ApprovalFilter(id=number))
        deployed = ApprovalResolved(AGENT, number, ApprovalState.DEPLOYED)
        async with (
            self._bus.subscribe(interface=names.APPROVALS, member="ApprovalResolved") as resolved,
            asyncio.timeout(LIMIT),
        ):
            began = monotonic()
            job = await self.client.approve(number, request.commit, ApprovalOptions())
            await self._given.done(job)
            ready = monotonic() - began
            async for event in resolved:
                if decode(ApprovalResolved, event.args) == deployed:
                    return {"ready": ready, "recorded": monotonic() - began}
        raise RuntimeError("the bus ended")


async def main(number: int) -> Times:
    """Measure configurations without packages, a restart, and the bare container."""
    times: Times = defaultdict(list)
    async with orders() as given:
        approvals = Approvals(given)
        client = approvals.client
        spawn = await client.request_spawn(AGENT, "bench", SpawnRequestOptions())
        await approvals.approve(spawn)
        proposals = Proposals(AGENT)
        for turn in range(number):
            commit = proposals.commit(f'[environment]\nMEASURED = "{turn}"\n')
            began = monotonic()
            asked = await client.request_apply(AGENT, commit, "Measure it", ApplyRequestOptions())
            times["submitted"].append(monotonic() - began)
            for moment, seconds in (await approvals.approve(asked)).items():
                times[moment].append(seconds)
            await _floors(given, times)
        await given.purge(AGENT)
    return times


async def _floors(given: Orders, times: Times) -> None:
    began = monotonic()
    await given.done(await given.agent(AGENT).restart())
    times["restart"].append(monotonic() - began)
    await given.done(await given.agent(AGENT).stop())
    times["bare"].append(await bare.start(AGENT))
    times["bare"][-1] += await bare.stop(AGENT)
    await given.done(await given.agent(AGENT).start())


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(int(sys.argv[1])))))
