"""The end of a turn, and its consequences for the messages, the session and the state."""

import asyncio
import logging
import time
from dataclasses import replace
from typing import Final

from harness.backoff import Backoff
from harness.claude.failures import KEEPING, Failure, TurnError
from harness.claude.run import Outcome
from harness.hive_client import Report, reportable_model
from harness.prompts import news
from harness.turns.batch import Batch
from harness.turns.credential_watch import CredentialWatch
from harness.turns.current import Cancellation, CurrentTurn
from harness.turns.errands import Errands
from harness.turns.parts import Parts
from harness.turns.provider_limit import ProviderLimit
from harness.turns.runner import TurnRunner
from harness.turns.state import State
from harness.turns.turn import Turn

log = logging.getLogger(__name__)

FIRST_RETRY: Final = 2.0
LAST_RETRY: Final = 300.0
NEW_SESSION_AFTER: Final = 2
"""Failures of Claude Code itself in a row, after which the session is abandoned."""

REMEDY: Final = (
    "`hivectl logs NAME` shows more; `hivectl rebuild NAME` restarts the agent with new files of"
    " Claude Code, and keeps the login, the session and /state."
)


class Consequences:
    """The consequences of the end of a turn."""

    def __init__(
        self,
        parts: Parts,
        runner: TurnRunner,
        errands: Errands,
        limit: ProviderLimit,
        credentials: CredentialWatch,
    ) -> None:
        self._config = parts.config
        self._claude = parts.claude
        self._store = parts.store
        self._reporter = parts.reporter
        self._choices = parts.choices
        self._inbox = parts.inbox
        self._runner = runner
        self._errands = errands
        self._limit = limit
        self._credentials = credentials
        self._retry = Backoff(FIRST_RETRY, LAST_RETRY)
        self._session_failures = 0

    @property
    def failing(self) -> bool:
        """Whether the last turn has failed."""
        return bool(self._retry.failures)

    async def of(self, current: CurrentTurn, turn: Turn, task: "asyncio.Task[Outcome]") -> float:
        """Acknowledge or release the messages of a turn.

        Args:
            current: the turn.
            turn: its record.
            task: the task that has run it.

        Returns:
            The seconds until the next try, if the turn failed.
        """
        if current.cancellation:
            current.cancelled = True
            if not task.cancelled() and (failure := task.exception()):
                log.info("the cancelled turn failed: %s", failure)
            await self._cancelled(current, current.cancellation, turn)
            return 0.0
        try:
            outcome = task.result()
            if outcome.interrupted:
                raise TurnError("the turn was interrupted and did not go on", Failure.CLAUDE)
        except TurnError as exc:
            turn.end("failed", str(exc), exc.failure.value)
            return await self._failed(exc, current)
        turn.end("done")
        await self._succeeded(current, turn, outcome)
        return 0.0

    async def _succeeded(self, current: CurrentTurn, turn: Turn, outcome: Outcome) -> None:
        await self._inbox.acknowledge(self._seen(current))
        self._retry.succeeded()
        self._session_failures = 0
        self._credentials.accepted()
        self._limit.answered()
        self._observed(turn, outcome)
        self._reporter.enter(State.IDLE)
        self._errands.turn_done(turn.stats.context_tokens or 0)

    def _observed(self, turn: Turn, outcome: Outcome) -> None:
        """Report the session, the model and the context, as the turn has shown them."""
        stats, usage = turn.stats, outcome.result.model_usage or {}
        windows = [int(model.get("contextWindow") or 0) for model in usage.values()]
        self._reporter.update(
            Report(
                logged_in=True,
                model=reportable_model(stats.model),
                effort=self._choices.effort or "",
                context_tokens=stats.context_tokens,
                context_limit=max(windows, default=0) or None,
                session=outcome.result.session_id[:64],
            )
        )

    def _seen(self, current: CurrentTurn) -> list[Batch]:
        """Return the messages that the model has read; the others begin the next turn."""
        unread = self._claude.unread
        for batch in current.left(unread):
            self._inbox.put_back(batch)
        return current.seen(unread)

    async def _cancelled(
        self, current: CurrentTurn, cancellation: Cancellation, turn: Turn
    ) -> None:
        """End a turn that was cancelled."""
        text = current.cut_off
        self._store.event("cancelled", by=cancellation.by, text=text)
        turn.end("cancelled", text)
        await self._inbox.cancel(self._seen(current), cancellation)
        self._reporter.enter(State.IDLE)

    async def _failed(self, failure: TurnError, current: CurrentTurn) -> float:
        """Release or hold the messages; return the seconds until the next try."""
        reason, kind = str(failure), failure.failure
        delay = self._retry.failed()
        await self._release(failure, current)
        if kind is Failure.TIME and failure.alive:
            log.error("the turn was cut off: %s", reason)
            self._reporter.enter(State.ERROR, reason)
            self._store.note(f"The turn was cut off: {reason}.", "warning")
            return 0.0
        await self._claude.close()  # so that the next try uses new credentials
        if kind not in (Failure.OUTAGE, Failure.LIMIT, Failure.LOGIN, Failure.TIME):
            await self._count_session_failure(reason)
        until = time.time() + delay
        if kind is Failure.LIMIT and failure.until > time.time():
            self._limit.reached(failure.until, reason)
            until, delay = failure.until, 0.0
        log.error("turn failed, next try in %.0f s: %s", until - time.time(), reason)
        if kind is Failure.LOGIN:
            self._credentials.refused(reason)
        elif kind is Failure.LIMIT:
            self._reporter.enter(State.RATE_LIMITED, reason, until)
        elif kind is Failure.START:
            remedy = REMEDY.replace("NAME", self._config.name)
            self._reporter.enter(State.ERROR, f"{reason}. {remedy}", until)
            self._runner.note(f"{reason}. {remedy}", "error")
        else:
            self._reporter.enter(State.ERROR, reason, until)
        return delay

    async def _release(self, failure: TurnError, current: CurrentTurn) -> None:
        """Release or hold the messages of a turn that failed.

        Released messages count as redelivered, so that a message with which every turn fails
        becomes a dead letter in the end. Where the messages are not the cause they are held:
        otherwise an outage would make dead letters of all messages. A turn that was over its time
        limit counts for no message if urgent ones came into it: their work may have used the time.
        """
        reason, kind = str(failure), failure.failure
        batches = self._seen(current)
        if kind in KEEPING:
            for batch in batches:
                self._inbox.put_back(replace(batch, retried=kind is not Failure.START))
        elif kind is Failure.TIME and current.urgent:
            await self._inbox.release(batches, reason=reason, uncounted=True)
        else:
            await self._inbox.release(batches, reason=reason)

    async def _count_session_failure(self, reason: str) -> None:
        self._session_failures += 1
        if self._session_failures < NEW_SESSION_AFTER:
            return
        self._session_failures = 0
        if self._claude.id is None:
            return
        text = f"it failed {NEW_SESSION_AFTER} times in a row ({reason})"
        self._runner.note(f"The session is abandoned, and a new one begins: {text}.")
        await self._runner.forget_session(news.lost_session(text))
