"""What the harness tells the container's systemd."""

import asyncio
import os

import sdnotify


class Notifier:
    """READY=1, STATUS=, WATCHDOG=1, STOPPING=1; silent without systemd.

    It takes systemd's variables out of the environment, so that they are not handed on to
    Claude Code and whatever that starts.
    """

    def __init__(self) -> None:
        self._notifier = sdnotify.SystemdNotifier()
        os.environ.pop("NOTIFY_SOCKET", None)
        os.environ.pop("WATCHDOG_PID", None)
        self._watchdog = int(os.environ.pop("WATCHDOG_USEC", "0")) / 1e6

    def ready(self) -> None:
        """The connection for messages is up."""
        self._notifier.notify("READY=1")

    def status(self, sentence: str) -> None:
        """The sentence that `systemctl status` shows."""
        self._notifier.notify(f"STATUS={sentence}")

    def stopping(self) -> None:
        """Nothing new is begun from now on."""
        self._notifier.notify("STOPPING=1\nSTATUS=stopping")

    async def watchdog(self) -> None:
        """Pings systemd at half of WatchdogSec for as long as the event loop lives."""
        while self._watchdog:
            self._notifier.notify("WATCHDOG=1")
            await asyncio.sleep(self._watchdog / 2)
