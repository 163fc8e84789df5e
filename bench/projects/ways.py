"""Two ways to keep a copy of an upstream: the service of projects, and git alone.

    async with hive(directory) as ours:
        await ours.add("website", upstream)
        await ours.fetch("website")
    await ours.check_out("website", work)

`python -m bench.projects.ways hive|git DIRECTORY UPSTREAM CHANGES` measures one way alone, so that
the memory of its programs is known, and prints the figures as JSON.
"""

import asyncio
import json
import os
import resource
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final, Protocol

from bench.projects import upstreams
from harness.projects.copy import WorkingCopy
from services.config import Config
from services.projects.__main__ import build
from wire import names
from wire.bus import Bus
from wire.clients.changes import ChangesClient
from wire.clients.projects import ProjectsClient
from wire.fake_agent import FakeAgent, properties
from wire.interface import Interface, method
from wire.principal import EVERYBODY, agent
from wire.records import decode
from wire.records.lifecycle import ProjectAccess
from wire.records.projects import AddOptions, ProjectChanged, ProjectState
from wire.testing import FixedPrincipals, private_bus
from wire.types import Dict, Str, UInt64

SECONDS: Final = 3600.0
PROJECT: Final = "handed"
"""The project that alice has."""


class Broker(Interface, name=names.BROKER):
    """A broker that takes the messages to agents."""

    @method(allow=EVERYBODY)
    async def Send(self, to: Str, body: Str, options: Dict) -> UInt64:  # noqa: N802
        return 1


class Way(Protocol):
    """A way to keep copies of upstreams."""

    async def add(self, name: str, upstream: Path) -> None:
        """Make a copy."""

    async def fetch(self, name: str) -> None:
        """Bring a copy up to date."""

    async def check_out(self, name: str, work: Path) -> None:
        """Make a working copy in `work`, which borrows the objects."""


class Hive:
    """The service, called over a bus."""

    def __init__(self, bus: Bus, alice: Bus, directory: Path) -> None:
        self.bus = bus
        """The operator's connection."""
        self.changes = ChangesClient(bus)
        self.alice = ChangesClient(alice)
        """Changes, as the agent alice sees them."""
        self._directory = directory
        self._client = ProjectsClient(bus)

    async def add(self, name: str, upstream: Path) -> None:
        """See Way."""
        await self._until(name, lambda: self._client.add(name, str(upstream), AddOptions()))

    async def fetch(self, name: str) -> None:
        """See Way."""
        await self._until(name, lambda: self._client.fetch(name))

    async def check_out(self, name: str, work: Path) -> None:
        """See Way. The harness does this, in the container."""
        shown = work.with_name(f"{work.name}-shown")
        shown.mkdir(exist_ok=True)
        (shown / f"{name}.git").symlink_to(self._directory / name / "upstream.git")
        await WorkingCopy(name, work, shown).prepare()

    async def _until(self, name: str, begin: Callable[[], Awaitable[None]]) -> None:
        rule = {"interface": names.PROJECTS, "member": "ProjectChanged", "arg0": name}
        async with asyncio.timeout(SECONDS), self.bus.subscribe(**rule) as signals:
            await begin()
            async for signal in signals:
                change = decode(ProjectChanged, signal.args)
                if change.state is ProjectState.READY:
                    return
                if change.state is ProjectState.FAILED:
                    raise RuntimeError((await self._client.show(name)).project.message)


class Git:
    """git alone, with its own defaults."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def add(self, name: str, upstream: Path) -> None:
        """See Way."""
        # Not a copy of files: an upstream is another host.
        await run_git(
            "clone", "--quiet", "--bare", "--no-local", str(upstream), str(self._at(name))
        )

    async def fetch(self, name: str) -> None:
        """See Way."""
        everything = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
        await run_git(
            f"--git-dir={self._at(name)}", "fetch", "--quiet", "--prune", "origin", *everything
        )

    async def check_out(self, name: str, work: Path) -> None:
        """See Way."""
        await run_git("clone", "--quiet", "--shared", str(self._at(name)), str(work / name))

    def _at(self, name: str) -> Path:
        return self._directory / f"{name}.git"


async def run_git(*arguments: str) -> None:
    """Run git, which must succeed."""
    process = await asyncio.create_subprocess_exec("git", *arguments)
    if await process.wait():
        raise RuntimeError(f"git {arguments[0]} exited with status {process.returncode}")


@asynccontextmanager
async def hive(directory: Path) -> AsyncIterator[Hive]:
    """Run the service in this process, on a bus of its own, with its state in `directory`.

    Lifecycle and the broker are stand-ins. alice has PROJECT; her working copies are in
    `agents/alice/work` beside `directory`.
    """
    await asyncio.to_thread(directory.mkdir)
    os.environ["STATE_DIRECTORY"] = str(directory)
    principals = FixedPrincipals()
    async with private_bus(stderr=asyncio.subprocess.DEVNULL) as address:
        buses = [await Bus.connect(address, principals) for _ in range(5)]
        service, operator, alice, lifecycle, broker = buses
        try:
            principals.known[alice.unique_name] = agent("alice")
            access = ProjectAccess(PROJECT, readonly=False, branches=[])
            lifecycle.export_object_manager(names.LIFECYCLE_PATH)
            shown = properties("alice", projects=(access,))
            lifecycle.export(names.agent_path("alice"), FakeAgent(shown))
            await lifecycle.own(names.LIFECYCLE)
            broker.export(names.BROKER_PATH, Broker())
            await broker.own(names.BROKER)
            running = await build(service, Config())
            await service.own(names.PROJECTS)
            await running.start()
            try:
                yield Hive(operator, alice, directory)
            finally:
                await running.close()
        finally:
            for bus in buses:
                await bus.close()


@asynccontextmanager
async def git(directory: Path) -> AsyncIterator[Way]:
    """Keep the copies of git alone in `directory`."""
    await asyncio.to_thread(directory.mkdir)
    yield Git(directory)


WAYS: Final[dict[str, Callable[[Path], AbstractAsyncContextManager[Way]]]] = {
    "hive": hive,
    "git": git,
}


async def timed(doing: Awaitable[None]) -> float:
    """Return the seconds that something takes."""
    began = time.perf_counter()
    await doing
    return time.perf_counter() - began


async def _alone(name: str, directory: Path, upstream: Path, changes: int) -> dict[str, float]:
    async with WAYS[name](directory) as way:
        added = await timed(way.add("large", upstream))
        fetches = []
        for _ in range(changes):
            upstreams.commit(upstream, time.time_ns() % 10**9)
            fetches.append(await timed(way.fetch("large")))
        work = directory / "work"
        work.mkdir()
        checked_out = await timed(way.check_out("large", work))
        most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    fetched = sorted(fetches)[len(fetches) // 2]
    return {"add": added, "fetch": fetched, "check out": checked_out, "memory": most}


if __name__ == "__main__":
    _, chosen, place, source, count = sys.argv
    print(json.dumps(asyncio.run(_alone(chosen, Path(place), Path(source), int(count)))))
