"""What was built of the agents' configurations, and the units that build: hive-build@NAME.service.

A build is complete when its directory has the name of its commit, and nobody changes it then.
"""

import asyncio
import logging
from pathlib import Path
from typing import Final

from services import agentfile
from services.agentfile import AgentFile
from services.lifecycle.agents.agent import Spec
from services.lifecycle.backends.layout import Layout
from services.lifecycle.files.nofollow import Directory, read_below, remove_below
from services.lifecycle.host.journal import Journal
from services.lifecycle.host.systemd import Systemd
from wire import names
from wire.errors import Conflict, HiveError

log = logging.getLogger(__name__)

BUILD_TIMEOUT: Final = 2 * 3600.0
"""Seconds; the unit's own time limit is shorter, so this is for a stuck systemd."""

LAST_LINES: Final = 50
"""Of the log of a build, after the sentence about one that failed."""

MAX_WHY: Final = 300
"""Characters of the last of these, in that sentence."""


class Builds:
    """The builds of all agents."""

    def __init__(self, systemd: Systemd, journal: Journal, layout: Layout) -> None:
        self._systemd = systemd
        self._journal = journal
        self._layout = layout
        self._read: dict[str, tuple[str, AgentFile]] = {}

    def read(self, spec: Spec) -> AgentFile:
        """The configuration that is deployed, as it lies there now; the default one for no commit.

        Raises Conflict when it is not there or does not fit.
        """
        if not spec.commit:
            return AgentFile()
        try:
            content = read_below(
                self._layout.builds,
                (spec.name, spec.commit, agentfile.NAME),
                agentfile.MAX_BYTES + 1,
            )
            file = agentfile.parse(content.decode())
        except (OSError, ValueError) as error:
            raise Conflict(
                f"The configuration of {spec.name} at {spec.commit[:12]} cannot be used: {error}"
            ) from error
        self._read[spec.name] = spec.commit, file
        return file

    def configuration(self, spec: Spec) -> AgentFile:
        """As `read`, which has read it before as a rule; the default one where that fails."""
        commit, file = self._read.get(spec.name, ("", AgentFile()))
        if commit == spec.commit:
            return file
        try:
            return self.read(spec)
        except Conflict as error:
            log.error("%s", error, extra={"HIVE_AGENT": spec.name})
            self._read[spec.name] = spec.commit, AgentFile()
            return AgentFile()

    def packages(self, spec: Spec) -> Path | None:
        """What lies over the /usr of its container; None when nothing does."""
        usr = self._layout.builds / spec.name / spec.commit / "usr"
        return usr if spec.commit and usr.is_dir() and not usr.is_symlink() else None

    async def make(self, spec: Spec, job: int) -> bool:
        """Have it built, unless it is there; see `Backend.build`."""
        if not spec.commit or await asyncio.to_thread(self._complete, spec):
            return False
        unit = names.build_unit(spec.name)
        if await asyncio.to_thread(self._order, spec, job):
            # One for another order may still run. The same order is that of an interrupted job,
            # whose build goes on meanwhile: it is joined.
            await self._systemd.stop(unit, BUILD_TIMEOUT)
        await self._systemd.reset_failed(unit)
        try:
            await self._systemd.start(unit, BUILD_TIMEOUT)
        except Conflict:
            raise Conflict(await self._failure(spec)) from None
        await asyncio.to_thread(self.read, spec)
        return True

    async def stop(self, name: str) -> None:
        """Let nothing be built of `name`; a build that does not run is no error."""
        await self._systemd.stop(names.build_unit(name), BUILD_TIMEOUT)
        await self._systemd.reset_failed(names.build_unit(name))

    async def forget(self, name: str, *, purge: bool) -> None:
        """Remove what was ordered of `name`, and with `purge` what was built."""
        self._read.pop(name, None)
        await self._systemd.reset_failed(names.build_unit(name))
        await remove_below(self._layout.orders, f"{name}.env")
        if purge:
            await remove_below(self._layout.builds, name)

    def _complete(self, spec: Spec) -> bool:
        """Whether it is there. One that is damaged is removed, so that it is built again."""
        try:
            self.read(spec)
        except Conflict:
            builds = self._layout.builds
            with (
                Directory.open(builds, owner=builds.stat().st_uid) as everything,
                everything.directory(spec.name) as own,
            ):
                own.remove(spec.commit)
            return False
        return True

    def _order(self, spec: Spec, job: int) -> bool:
        """Write down what to build; answers whether that was not what is written there already."""
        text = f"HIVE_AGENT={spec.name}\nHIVE_COMMIT={spec.commit}\nHIVE_JOB={job}\n"
        with Directory.open(self._layout.orders) as orders:
            return orders.write(f"{spec.name}.env", text)

    async def _failure(self, spec: Spec) -> str:
        """One sentence, and what the build said last."""
        unit = names.build_unit(spec.name)
        sentence = f"The configuration of {spec.name} at {spec.commit[:12]} could not be built"
        try:
            run = await self._systemd.invocation(unit)
            lines = await self._journal.last_of(unit, run, LAST_LINES)
        except HiveError as error:
            lines = [f"(its log cannot be read: {error})"]
        # The last line is why, and many a reader shows the first one only.
        why = f": {lines[-1].rstrip('.')}" if lines else ""
        return "\n".join([f"{sentence}{why[:MAX_WHY]}.", *lines])
