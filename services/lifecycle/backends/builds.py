"""The builds of the agents' configurations, which hive-build@NAME.service makes.

A build is complete when its directory has the name of its commit. Complete builds never change.
"""

import asyncio
import logging
import os
from pathlib import Path
from typing import Final

from services import agentfile
from services.agentfile import AgentFile
from services.lifecycle.agents.agent import Spec
from services.lifecycle.backends.layout import Layout
from services.lifecycle.files.nofollow import Directory, link_below, read_below, remove_below
from services.lifecycle.host.build_output import Tell, followed
from services.lifecycle.host.journal import Journal
from services.lifecycle.host.log_reader import LogReader
from services.lifecycle.host.systemd import Systemd
from wire import names
from wire.errors import Conflict, HiveError

log = logging.getLogger(__name__)

BUILD_TIMEOUT: Final = 2 * 3600.0
"""Seconds. The time limit of the unit is shorter; only a stuck systemd exceeds this one."""

LAST_LINES: Final = 50
"""The log lines in the error about a failed build."""

SYSTEM: Final = "system"
"""The link in a build to a toplevel of NixOS."""
STAMP: Final = "inputs"
"""The file in a build that identifies the inputs of its system, 64 characters."""

ENDS: Final = {
    "oom-kill": "it used up the memory that {unit} may have (MemoryMax=)",
    "timeout": "it took longer than {unit} may take (TimeoutStartSec=)",
    "signal": "a process of {unit} was killed by signal {status}",
    "core-dump": "a process of {unit} was killed by signal {status}",
}
"""The reasons of builds that were ended before they could say why, by the result of their unit."""

MAX_WHY: Final = 300
"""The characters of the last log line that the first sentence of that error repeats."""


class Builds:
    """The builds of all agents."""

    def __init__(self, systemd: Systemd, journal: Journal, layout: Layout, stamp: str = "") -> None:
        """Do nothing before `make`.

        Args:
            systemd: the host's systemd, which runs the builds.
            journal: the journal, for the lines of failed builds.
            layout: the paths on the host.
            stamp: what identifies the inputs of NixOS systems; empty: builds have no systems.
        """
        self._stamp = stamp
        self._systemd = systemd
        self._journal = journal
        self._output = LogReader()
        self._layout = layout
        self._read: dict[str, tuple[str, AgentFile]] = {}

    def read(self, spec: Spec) -> AgentFile:
        """Read the deployed configuration; return the default one if `spec` has no commit.

        Raises:
            Conflict: the build is missing or damaged.
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
        """Return the result of the last `read`, or the default configuration where that fails."""
        commit, file = self._read.get(spec.name, ("", AgentFile()))
        if commit == spec.commit:
            return file
        try:
            return self.read(spec)
        except Conflict as error:
            # A missing build is normal before a spawn has made it; each start makes it again.
            if not isinstance(error.__cause__, FileNotFoundError):
                log.error("%s", error, extra={"HIVE_AGENT": spec.name})
            self._read[spec.name] = spec.commit, AgentFile()
            return AgentFile()

    def packages(self, spec: Spec) -> Path | None:
        """Return the tree of packages that is laid over the container's /usr, if there is one."""
        usr = self._layout.builds / spec.name / spec.commit / "usr"
        return usr if spec.commit and usr.is_dir() and not usr.is_symlink() else None

    def system(self, spec: Spec) -> str:
        """Return the target of the link to the NixOS system; empty if the build has none."""
        if not spec.commit:
            return ""
        try:
            return link_below(self._layout.builds, (spec.name, spec.commit, SYSTEM))
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise Conflict(
                f"The build of {spec.name} at {spec.commit[:12]} cannot be used: {error}"
            ) from error

    def is_current(self, spec: Spec) -> bool:
        """Return whether the system of a build is made from the inputs of the host."""
        if not (spec.commit and self._stamp):
            return True
        try:
            stamp = read_below(self._layout.builds, (spec.name, spec.commit, STAMP), 100)
        except OSError:
            return False
        return stamp.decode(errors="replace").strip() == self._stamp

    async def make(self, spec: Spec, job: int, tell: Tell, *, renew: bool = False) -> bool:
        """Build the configuration unless it is built already; see `Backend.build`."""
        if not spec.commit:
            return False
        complete = await asyncio.to_thread(self._complete, spec)
        if complete and (not renew or await asyncio.to_thread(self.is_current, spec)):
            return False
        unit = names.build_unit(spec.name)
        if await asyncio.to_thread(self._order, spec, job):
            # A build for another order may still run. A build for the same order belongs to an
            # interrupted job and has continued since: it is joined.
            await self._systemd.stop(unit, BUILD_TIMEOUT)
        await self._systemd.reset_failed(unit)
        try:
            async with followed(unit, tell, self._output):
                await self._systemd.start(unit, BUILD_TIMEOUT)
        except Conflict:
            raise Conflict(await self._failure(spec)) from None
        await asyncio.to_thread(self.read, spec)
        return True

    async def stop(self, name: str) -> None:
        """Stop the build for `name`. If none runs, that is not an error."""
        await self._systemd.stop(names.build_unit(name), BUILD_TIMEOUT)
        await self._systemd.reset_failed(names.build_unit(name))

    async def forget(self, name: str, *, purge: bool) -> None:
        """Remove the order for `name`, and with `purge` all builds."""
        self._read.pop(name, None)
        await self._systemd.reset_failed(names.build_unit(name))
        await remove_below(self._layout.orders, f"{name}.env")
        if purge:
            await remove_below(self._layout.builds, name)

    def _complete(self, spec: Spec) -> bool:
        """Return whether the build exists. A damaged one is removed, so that it is built again."""
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
        return self._has_system(spec)

    def _has_system(self, spec: Spec) -> bool:
        """Return whether the system of a build, if it has one, is in the Nix store."""
        if not self._stamp:
            return True
        try:
            system = self.system(spec)
        except Conflict:
            return False
        return not system or os.path.lexists(self._layout.root / system.lstrip("/"))

    def _order(self, spec: Spec, job: int) -> bool:
        """Write the order to build `spec`; return whether it differs from the last order."""
        text = f"HIVE_AGENT={spec.name}\nHIVE_COMMIT={spec.commit}\nHIVE_JOB={job}\n"
        with Directory.open(self._layout.orders) as orders:
            return orders.write(f"{spec.name}.env", text)

    async def _failure(self, spec: Spec) -> str:
        """Return a sentence about the failed build, and its last log lines."""
        unit = names.build_unit(spec.name)
        sentence = f"The configuration of {spec.name} at {spec.commit[:12]} could not be built"
        why = ""
        try:
            status = await self._systemd.status(unit)
            why = ENDS.get(status.result, "").format(unit=unit, status=status.status)
            lines = await self._journal.last_of(unit, status.invocation, LAST_LINES)
        except HiveError as error:
            lines = [f"(its log cannot be read: {error})"]
        # The last line is the reason otherwise, and many readers show only the first line.
        why = why or (lines[-1].rstrip(".") if lines else "")
        return "\n".join([f"{sentence}{f': {why}'[:MAX_WHY] if why else ''}.", *lines])
