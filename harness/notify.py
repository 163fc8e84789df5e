"""Notifications of the container's systemd (sd_notify)."""

import asyncio
import os
from typing import Final

import sdnotify

from harness.lines import one_line

MAX_STATUS: Final = 500
"""The characters of a status; systemd drops a notification of more than 4096 bytes."""


class Notifier:
    """The notifier of systemd; it does nothing without systemd.

    It removes systemd's variables from the environment, so that Claude Code and its children do
    not inherit them.
    """

    def __init__(self) -> None:
        self._notifier = sdnotify.SystemdNotifier()
        os.environ.pop("NOTIFY_SOCKET", None)
        os.environ.pop("WATCHDOG_PID", None)
        self._watchdog = int(os.environ.pop("WATCHDOG_USEC", "0")) / 1e6

    def _notify(self, state: str) -> None:
        # sdnotify encodes its text in Latin-1, and systemd takes UTF-8.
        self._notifier.notify(state.encode().decode("latin-1"))

    def ready(self) -> None:
        """Notify that the connection for messages is up."""
        self._notify("READY=1")

    def status(self, sentence: str) -> None:
        """Set the sentence that `systemctl status` shows.

        It may be an error of another program. A newline in it would begin another field, such as
        MAINPID=, and a long one would be dropped.
        """
        self._notify(f"STATUS={one_line(sentence, MAX_STATUS)}")

    def stopping(self) -> None:
        """Notify that the harness is stopping."""
        self._notify("STOPPING=1\nSTATUS=stopping")

    async def watchdog(self) -> None:
        """Ping systemd at half of WatchdogSec as long as the event loop runs."""
        while self._watchdog:
            self._notify("WATCHDOG=1")
            # systemd expects a ping at a pace: its absence is the event.
            await asyncio.sleep(self._watchdog / 2)
