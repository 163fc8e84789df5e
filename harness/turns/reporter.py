"""The reports to the hive: the turn state and the session."""

import asyncio
import logging
from dataclasses import asdict, replace
from typing import Final

from harness.events.store import EventStore
from harness.hive_client import MAX_SENTENCE, ConnectionLostError, HiveClient, Report, ToolError
from harness.lines import one_line
from harness.notify import Notifier
from harness.turns.state import State, transition

log = logging.getLogger(__name__)

MAX_ACTIVITY: Final = 200

ACTIVITY_SECONDS: Final = 1.0
"""The shortest time between two reports of which only the activity differs."""


class Reporter:
    """The reporter, which sends what has changed since its last report on this connection.

    The agent's page gets each change at once.
    """

    def __init__(self, hive: HiveClient, store: EventStore, notifier: Notifier) -> None:
        self._hive = hive
        self._store = store
        self._notifier = notifier
        self._report = Report(State.IDLE.value, reason="", until=0, activity="", in_turn=False)
        self._sent = Report()
        self._limit: int | None = None
        self._changed = asyncio.Event()
        self._changed.set()
        self.state = State.IDLE

    @property
    def reason(self) -> str:
        """The reason for the state; empty if that is obvious."""
        return self._report.reason or ""

    def enter(self, state: State, reason: str = "", until: float = 0.0) -> None:
        """Enter a state.

        Args:
            state: the state.
            reason: why, in a few words; empty if that is obvious.
            until: when the state ends by itself, in seconds since 1970; 0 if it does not.
        """
        self.state = transition(self.state, state)
        sentence = one_line(reason, MAX_SENTENCE)
        self._notifier.status(f"{state.value}: {sentence}" if sentence else state.value)
        self.update(Report(state.value, reason=sentence, until=int(until)))

    def activity(self, text: str) -> None:
        """Set the present activity; empty if there is none."""
        line = one_line(text, MAX_ACTIVITY)
        if line != self._report.activity:
            self.update(Report(activity=line))

    def update(self, report: Report) -> None:
        """Merge values into the report."""
        given = {key: value for key, value in asdict(report).items() if value is not None}
        self._report = replace(self._report, **given)
        self._store.report(**given)
        self._changed.set()

    def provider_limit(self, until: int) -> None:
        """Report the end of a limit once, and not again on each new connection.

        Args:
            until: the time until which the provider refuses requests, in seconds since 1970; 0 if
                the provider answers again.
        """
        self._limit = until
        self._changed.set()

    async def run(self) -> None:
        """Send each change, and everything on each new connection, until cancelled."""
        loop, generation, activity_sent = asyncio.get_running_loop(), 0, float("-inf")
        while True:
            if (now := await self._hive.connected()) != generation:
                generation, self._sent = now, Report()
            difference, delay = self._difference(), None
            if difference != Report() and difference == Report(activity=difference.activity):
                delay = max(0.0, activity_sent + ACTIVITY_SECONDS - loop.time())
            if difference != Report() and not delay:
                self._sent, self._limit = self._report, None
                if difference.activity is not None:
                    activity_sent = loop.time()
                await self._send(difference)
                delay = None
            await self._wait(generation, delay)

    async def _send(self, report: Report) -> None:
        try:
            await self._hive.report(report)
        except ToolError as exc:
            log.warning("cannot report: %s", exc)
        except ConnectionLostError as exc:  # the next connection gets everything
            log.warning("cannot report: %s", exc)
            if self._limit is None:
                self._limit = report.provider_limit_until

    def _difference(self) -> Report:
        sent, now = asdict(self._sent), asdict(self._report)
        given = {key: value for key, value in now.items() if value != sent[key]}
        if "turn_state" in given:  # the hive forgets what belongs to the state before
            given |= {key: now[key] for key in ("reason", "until", "activity")}
        return replace(Report(**given), provider_limit_until=self._limit)

    async def _wait(self, generation: int, delay: float | None) -> None:
        """Wait for a change, for a new connection, or for `delay` seconds."""
        tasks = [
            asyncio.create_task(self._changed.wait(), name="report"),
            asyncio.create_task(self._hive.connected(generation), name="reconnect"),
        ]
        try:
            await asyncio.wait(tasks, timeout=delay, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        self._changed.clear()
