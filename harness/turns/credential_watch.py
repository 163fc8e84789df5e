"""The credentials of the turns: whether there are any, and the wait for new ones."""

import asyncio
import time

from harness.config import Source, credentials
from harness.hive_client import Report
from harness.inotify import DirectoryWatch
from harness.turns.parts import Parts
from harness.turns.state import State
from harness.turns.waker import Waker


class CredentialWatch:
    """The watch over the credentials of Claude Code."""

    def __init__(self, parts: Parts, waker: Waker) -> None:
        self._config = parts.config
        self._paths = parts.paths
        self._reporter = parts.reporter
        self._waker = waker
        self._refused = False

    @property
    def source(self) -> Source:
        """The source of the credentials that a turn would use now."""
        return credentials(self._config, self._paths).source

    def refused(self, reason: str) -> None:
        """Note that the API has refused the credentials."""
        self._refused = True
        self._reporter.update(Report(logged_in=False))
        self._reporter.enter(State.NEEDS_LOGIN, reason)

    def accepted(self) -> None:
        """Note that the API has accepted the credentials."""
        self._refused = False

    async def available(self) -> bool:
        """Return whether a turn can be tried; if not, first wait for new credentials."""
        source = self.source
        if source is not Source.NONE:
            if not self._refused:
                self._reporter.update(Report(logged_in=True, credential=source.value))
                if self._reporter.state is State.NEEDS_LOGIN:
                    self._reporter.enter(State.IDLE)
            return True
        self._reporter.update(Report(logged_in=False, credential=source.value))
        self._paths.claude.mkdir(parents=True, exist_ok=True)
        self._reporter.enter(State.NEEDS_LOGIN, "there are no credentials")
        with self._watch() as watch:
            if self.source is Source.NONE:  # look again: from now on no change is missed
                await self._change(watch)
        return False

    async def wait_for_retry(self, delay: float) -> None:
        """Wait for the next try; new credentials or a command end the wait early."""
        until = time.time() + delay
        before = self._state()
        with self._watch() as watch:
            while time.time() < until and self._state() == before:
                await self._change(watch, until)
                if self._waker.is_set:
                    return

    async def _change(self, watch: DirectoryWatch, until: float | None = None) -> None:
        change = asyncio.create_task(watch.change(), name="credentials")
        try:
            await self._waker.wait(change, until=until)
        finally:
            change.cancel()
            await asyncio.wait({change})

    def _watch(self) -> DirectoryWatch:
        """Return a watch for a login, and for harness.json, which tells of the gateway."""
        # harness.json is a link in a NixOS system: its file changes in another directory.
        return DirectoryWatch(self._paths.claude, self._paths.config.resolve().parent)

    def _state(self) -> tuple[Source, tuple[int, int] | None]:
        """Return a value that changes with each login, and with the credentials of the gateway."""
        return self.source, self._login_file()

    def _login_file(self) -> tuple[int, int] | None:
        """Return the inode and the time of the file of the login, which change with each login."""
        try:
            found = self._paths.login.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns
