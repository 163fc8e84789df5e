"""Notifications of the container's systemd (sd_notify)."""

import asyncio
import os

import sdnotify


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

    def ready(self) -> None:
        """Notify that the connection for messages is up."""
        self._notifier.notify("READY=1")

    def status(self, sentence: str) -> None:
        """Set the sentence that `systemctl status` shows."""
        self._notifier.notify(f"STATUS={sentence}")

    def stopping(self) -> None:
        """Notify that the harness is stopping."""
        self._notifier.notify("STOPPING=1\nSTATUS=stopping")

    async def watchdog(self) -> None:
        """Ping systemd at half of WatchdogSec as long as the event loop runs."""
        while self._watchdog:
            self._notifier.notify("WATCHDOG=1")
            await asyncio.sleep(self._watchdog / 2)
