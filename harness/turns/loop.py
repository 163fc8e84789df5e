"""The turn loop: lease messages, run a turn, acknowledge; or release the messages and wait."""

import asyncio
import logging
import time
from collections import deque
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from harness.backoff import Backoff
from harness.claude.choices import Choices
from harness.claude.failures import KEEPING, Failure, TurnError
from harness.claude.permissions import Permissions, answer_of
from harness.claude.session import ClaudeSession, Outcome
from harness.config import Config, Paths, Source, credentials
from harness.events.store import EventStore
from harness.hive_client import HiveClient, Report, reportable_model
from harness.inotify import DirectoryWatch
from harness.logins import Logins
from harness.notes import Notes, NotesError
from harness.prompts import news
from harness.telemetry.telemetry import Telemetry
from harness.tools.todo import TodoList
from harness.turns.batch import Batch
from harness.turns.commands import CommandError, Commands
from harness.turns.current import Cancellation, CurrentTurn
from harness.turns.inbox import Inbox, names
from harness.turns.reporter import Reporter
from harness.turns.runner import TurnRunner
from harness.turns.started import CHANGED
from harness.turns.state import State
from harness.turns.turn import Turn

if TYPE_CHECKING:
    from claude_agent_sdk import Message

log = logging.getLogger(__name__)

MAX_BATCH: Final = 10
"""Messages of one turn."""

FIRST_RETRY: Final = 2.0
LAST_RETRY: Final = 300.0
NEW_SESSION_AFTER: Final = 2
"""Failures of Claude Code itself in a row, after which the session is abandoned."""

MIN_IDLE_TOKENS: Final = 20_000
"""A smaller context is not worth a compaction when the session idles."""

REMEDY: Final = (
    "`hivectl logs NAME` tells more; `hivectl rebuild NAME` makes the container anew, and keeps"
    " /state and the login."
)


class Errand(StrEnum):
    """Something to do while no turn runs."""

    COMPACT = "compact"
    NEW_SESSION = "new session"
    CLOSE = "close"
    NOTES = "notes"


class TurnLoop:
    """The loop that runs one turn at a time."""

    def __init__(
        self,
        config: Config,
        paths: Paths,
        hive: HiveClient,
        claude: ClaudeSession,
        store: EventStore,
        reporter: Reporter,
        choices: Choices,
        notes: Notes,
        todo: TodoList,
        permissions: Permissions,
        logins: Logins,
        telemetry: Telemetry | None = None,
    ) -> None:
        self._config = config
        self._paths = paths
        self._hive = hive
        self._claude = claude
        self._store = store
        self._reporter = reporter
        self._choices = choices
        self._notes = notes
        self._telemetry = telemetry
        self._inbox = Inbox(hive)
        self._runner = TurnRunner(
            config, paths, hive, claude, store, reporter, self._inbox, todo, permissions
        )
        self._commands = Commands(hive, choices, self, logins)
        hive.on_command = self._commands.take
        self._retry = Backoff(FIRST_RETRY, LAST_RETRY)
        self._session_failures = 0
        self._refused: Source | None = None
        self._current: CurrentTurn | None = None
        self._task: asyncio.Task[Outcome] | None = None
        self._errands: deque[Errand] = deque()
        self._woken = asyncio.Event()
        self._hold_until = 0.0
        self._hold_reason = ""
        self._limit_reported = False
        self._context_tokens = 0
        self._idle_since = asyncio.get_running_loop().time()
        self._compacted_idle = True

    async def run(self) -> None:
        """Handle messages until cancelled; then release the messages that are held."""
        self._reporter.update(Report(session=self._claude.id or "", effort=self._effort))
        try:
            while True:
                await self._hive.connected()
                await self._step()
        finally:
            await self._commands.close()
            await self._inbox.close()
            await self._claude.close()

    async def _step(self) -> None:
        """Do the next thing, or wait until there is one."""
        self._woken.clear()
        if self._errands:
            await self._do(self._errands.popleft())
            return
        if self._hold_until > time.time():
            self._reporter.enter(State.RATE_LIMITED, self._hold_reason, self._hold_until)
            await self._wait(until=self._hold_until)
            return
        if self._hold_until and self._reporter.state is State.RATE_LIMITED:
            if not self._config.resume_after_limit:
                # The hive holds the inbox, and asks the operator whether this agent goes on.
                await self._inbox.give_back()
            self._reporter.enter(State.IDLE)
        self._hold_until = 0.0
        if not await self._have_credentials():
            return
        batch = await self._inbox.take() or self._own_turn() or await self._receive()
        if batch:
            await self._handle(batch)

    # --- receiving ---------------------------------------------------------------------------

    async def _receive(self) -> Batch | None:
        """Return the next messages that need a turn, or None if there are none yet."""
        await self._inbox.pause()
        # After a failure one at a time, so that a message with which every turn fails is alone.
        self._inbox.receiving(1 if self._retry.failures else MAX_BATCH)
        deadline, errand = self._next_idle_errand()
        await self._wait(*self._inbox.calls, until=deadline)
        if self._errands:  # the turn comes after them
            return None
        batch = await self._inbox.take()
        if batch is None and errand and deadline is not None and time.time() >= deadline:
            self._errands.append(errand)
        return batch

    def _next_idle_errand(self) -> tuple[float | None, Errand | None]:
        """Return what to do when no message arrives, and when."""
        idle = asyncio.get_running_loop().time() - self._idle_since
        due: list[tuple[float, Errand]] = []
        if self._claude.is_open:
            due.append((self._config.session_idle - idle, Errand.CLOSE))
        after = self._config.compact_idle_after
        if after and not self._compacted_idle and self._context_tokens >= MIN_IDLE_TOKENS:
            due.append((after - idle, Errand.COMPACT))
        if not due:
            return None, None
        seconds, errand = min(due)
        return time.time() + max(0.0, seconds), errand

    def _own_turn(self) -> Batch | None:
        """Return a turn without messages, if the agent is to be told of its start at once."""
        start = self._runner.starts.untold
        if self._config.wake_after_deploy and start and start.verb in CHANGED:
            return Batch((), self._hive.generation)
        return None

    async def _wait(self, *tasks: "asyncio.Task[object]", until: float | None = None) -> None:
        """Wait for one of `tasks`, for a command, or for a time in seconds since 1970."""
        woken = asyncio.create_task(self._woken.wait(), name="woken")
        timeout = None if until is None else max(0.0, until - time.time())
        try:
            await asyncio.wait({*tasks, woken}, timeout=timeout, return_when="FIRST_COMPLETED")
        finally:
            woken.cancel()
            await asyncio.wait({woken})

    # --- a turn ------------------------------------------------------------------------------

    async def _handle(self, batch: Batch) -> None:
        senders = ", ".join(sorted({message.sender for message in batch.messages}))
        log.info("turn with %s from %s", names(batch.ids), senders or "the harness")
        self._reporter.enter(State.THINKING)
        current = self._current = CurrentTurn(batch)
        turn = Turn(self._store, batch.messages, self._telemetry)
        task = self._task = asyncio.create_task(self._runner.run(current, turn), name="turn")
        delay = 0.0
        try:
            await asyncio.wait({task})
            delay = await self._end(current, turn, task)
        except BaseException as exc:  # cancelled, or a bug: release the messages
            task.cancel()
            await asyncio.wait({task})
            turn.end("cancelled", type(exc).__name__)
            await self._inbox.release(current.seen(frozenset()))
            raise
        finally:
            self._current = self._task = None
            current.over.set()
        self._idle_since = asyncio.get_running_loop().time()
        if delay:
            await self._wait_for_retry(delay)

    async def _end(self, current: CurrentTurn, turn: Turn, task: "asyncio.Task[Outcome]") -> float:
        """Acknowledge or release the messages of a turn.

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
        self._refused = None
        if self._limit_reported:
            self._limit_reported = False
            self._reporter.provider_limit(0)
        self._observed(turn, outcome)
        self._reporter.enter(State.IDLE)
        limit = self._config.compact_over_tokens
        if limit and self._context_tokens > limit:
            self._errands.append(Errand.COMPACT)
        if self._notes.outgrown:
            self._errands.append(Errand.NOTES)

    def _observed(self, turn: Turn, outcome: Outcome) -> None:
        """Report what the turn has shown of the session."""
        stats, usage = turn.stats, outcome.result.model_usage or {}
        windows = [int(model.get("contextWindow") or 0) for model in usage.values()]
        self._context_tokens = stats.context_tokens or self._context_tokens
        self._compacted_idle = False
        self._reporter.update(
            Report(
                logged_in=True,
                model=reportable_model(stats.model),
                effort=self._effort,
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
        """End a turn that the operator has cancelled."""
        text = current.activity.cut_off
        self._store.event("cancelled", by="operator", text=text)
        turn.end("cancelled", text)
        await self._cancel_messages(self._seen(current), cancellation)
        self._reporter.enter(State.IDLE)

    async def _cancel_messages(self, batches: list[Batch], cancellation: Cancellation) -> None:
        if cancellation.requeue:
            await self._inbox.release(batches, reason="cancelled by the operator", uncounted=True)
        else:
            await self._inbox.acknowledge(batches, cancelled=True)

    async def _failed(self, failure: TurnError, current: CurrentTurn) -> float:
        """Release or hold the messages; return the seconds until the next try.

        Released messages count as redelivered, so that a message with which every turn fails
        becomes a dead letter in the end. Where the messages are not the cause they are held:
        otherwise an outage would make dead letters of all messages. A turn that was over its time
        limit counts for no message if urgent ones came into it: their work may have used the time.
        """
        reason, kind = str(failure), failure.failure
        delay = self._retry.failed()
        keeps = kind in KEEPING
        batches = self._seen(current)
        if keeps:
            for batch in batches:
                self._inbox.put_back(replace(batch, retried=kind is not Failure.START))
        elif kind is Failure.TIME and current.urgent:
            # A late answer counts in any case: it must not allow its call a second time.
            answers, others = zip(*map(_without_answers, batches), strict=True)
            await self._inbox.release(answers, reason=reason)
            await self._inbox.release(others, reason=reason, uncounted=True)
        else:
            await self._inbox.release(batches, reason=reason)
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
            self._hold_until, self._hold_reason, until = failure.until, reason, failure.until
            self._limit_reported = True
            self._reporter.provider_limit(int(failure.until))
            delay = 0.0
        log.error("turn failed, next try in %.0f s: %s", until - time.time(), reason)
        if kind is Failure.LOGIN:
            self._reporter.update(Report(logged_in=False))
            self._refused = self._source()
            self._reporter.enter(State.NEEDS_LOGIN, reason)
        elif kind is Failure.LIMIT:
            self._reporter.enter(State.RATE_LIMITED, reason, until)
        elif kind is Failure.START:
            remedy = REMEDY.replace("NAME", self._config.name)
            self._reporter.enter(State.ERROR, f"{reason}. {remedy}", until)
            self._runner.note(f"{reason}. {remedy}", "error")
        else:
            self._reporter.enter(State.ERROR, reason, until)
        return delay

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

    async def _wait_for_retry(self, delay: float) -> None:
        """Wait for the next try; new credentials or a command end the wait early."""
        until = time.time() + delay
        before = self._login_file()
        with DirectoryWatch(self._paths.claude) as watch:
            while time.time() < until and self._login_file() == before:
                change = asyncio.create_task(watch.change(), name="credentials")
                try:
                    await self._wait(change, until=until)
                finally:
                    change.cancel()
                    await asyncio.wait({change})
                if self._woken.is_set():
                    return

    # --- errands -----------------------------------------------------------------------------

    async def _do(self, errand: Errand) -> None:
        match errand:
            case Errand.CLOSE:
                log.info("closing Claude Code")
                await self._claude.close()
            case Errand.NEW_SESSION:
                self._runner.note("The operator has begun a new session.", "info")
                await self._runner.forget_session(news.new_session())
                self._context_tokens = 0
            case Errand.COMPACT:
                await self._compact()
            case Errand.NOTES:
                await self._condense_notes()

    async def _compact(self) -> None:
        self._compacted_idle = True
        if self._claude.id is None or self._source() is Source.NONE:
            return
        try:
            self._context_tokens = await self._runner.compact("while no turn runs")
        except TurnError as exc:
            self._runner.note(f"The context could not be compacted: {exc}.")
            if not exc.alive:
                await self._claude.close()

    async def _condense_notes(self) -> None:
        """Condense the notes in a session of their own, shown as a turn without messages."""
        from claude_agent_sdk import SystemMessage

        self._reporter.enter(State.COMPACTING, "condensing the notes")
        turn = Turn(self._store, (), self._telemetry)

        def observe(message: "Message") -> None:
            if not isinstance(message, SystemMessage):  # the agent's session is another one
                turn.observe(message)

        try:
            before, after = await self._notes.condense(observe)
        except NotesError as exc:
            turn.end("failed", str(exc))
            self._runner.note(f"The notes were not condensed: {exc}.")
        except BaseException as exc:  # cancelled, or a bug
            turn.end("cancelled", type(exc).__name__)
            raise
        else:
            turn.end("done")
            text = f"The notes were condensed from {before} to {after} bytes; notes-old has a copy."
            self._runner.note(text, "info")
        self._reporter.enter(State.IDLE)

    # --- commands (Steering) -----------------------------------------------------------------

    async def cancel(self, *, requeue: bool) -> str:
        """Cancel the turn, or the messages that wait for the next try of their turn.

        Returns:
            A sentence that says what was cut off.

        Raises:
            CommandError: there is nothing to cancel.
        """
        cancellation = Cancellation(requeue)
        fate = "The messages were given back." if requeue else "The messages are cancelled."
        if current := self._current:
            if current.cancellation:
                raise CommandError("The turn is being cancelled already.")
            current.cancellation = cancellation
            text = current.activity.cut_off
            if self._claude.is_answering:
                await self._claude.cancel()
            elif self._task:
                self._task.cancel()
            await current.over.wait()
            if not current.cancelled:
                raise CommandError("The turn has ended by itself meanwhile.")
            return f"{text} {fate}"
        if self._claude.is_answering:
            await self._claude.cancel()
            return "The compaction was cut off."
        if batch := await self._inbox.take():
            await self._cancel_messages([batch], cancellation)
            self._store.event("cancelled", by="operator", text=names(batch.ids))
            if self._reporter.state in (State.ERROR, State.RATE_LIMITED):
                self._reporter.enter(State.IDLE)
            self._woken.set()
            return f"No turn ran, but {names(batch.ids)} waited for the next try. {fate}"
        raise CommandError(f"There is no turn to cancel: {self._config.name} is idle.")

    def compact(self) -> str:
        """Compact the context as soon as no turn runs.

        Raises:
            CommandError: there is no session yet.
        """
        if self._claude.id is None:
            raise CommandError("There is nothing to compact: the agent has no session yet.")
        return f"{self._errand(Errand.COMPACT)} the context is compacted."

    def new_session(self) -> str:
        """Begin a new session as soon as no turn runs."""
        return f"{self._errand(Errand.NEW_SESSION)} a new session begins; /state is kept."

    def reopen(self) -> str:
        """Start Claude Code again before the next turn."""
        self._errand(Errand.CLOSE)
        self._reporter.update(Report(effort=self._effort))
        return f"From its next turn on, {self._config.name}"

    def hold(self, until: float) -> str:
        """Begin no turn before this time, in seconds since 1970."""
        self._hold_until = max(until, 1.0)  # a time, though over: the state has to end, too
        self._hold_reason = "the model's provider answers no requests before then"
        self._woken.set()
        return f"{self._config.name} begins no turn before that time."

    def _errand(self, errand: Errand) -> str:
        if errand not in self._errands:
            self._errands.append(errand)
        self._woken.set()
        return "After the turn that runs," if self._current else "Now"

    # --- credentials -------------------------------------------------------------------------

    async def _have_credentials(self) -> bool:
        """Return whether a turn can be tried; if not, first wait for new credentials."""
        source = self._source()
        if source is not Source.NONE:
            if self._refused is None:
                self._reporter.update(Report(logged_in=True, credential=source.value))
                if self._reporter.state is State.NEEDS_LOGIN:
                    self._reporter.enter(State.IDLE)
            return True
        self._reporter.update(Report(logged_in=False, credential=source.value))
        self._paths.claude.mkdir(parents=True, exist_ok=True)
        self._reporter.enter(State.NEEDS_LOGIN, "there are no credentials")
        with DirectoryWatch(self._paths.claude) as watch:
            if self._source() is Source.NONE:  # look again: from now on no change is missed
                change = asyncio.create_task(watch.change(), name="credentials")
                try:
                    await self._wait(change)
                finally:
                    change.cancel()
                    await asyncio.wait({change})
        return False

    def _source(self) -> Source:
        return credentials(self._config, self._paths).source

    def _login_file(self) -> tuple[int, int] | None:
        """Return what changes with each login."""
        try:
            found = self._paths.login.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    @property
    def _effort(self) -> str:
        return self._choices.effort or ""


def _without_answers(batch: Batch) -> tuple[Batch, Batch]:
    """Return the answers about permissions in a batch, and the other messages in it."""
    answers = tuple(message for message in batch.messages if answer_of(message))
    others = tuple(message for message in batch.messages if message not in answers)
    return replace(batch, messages=answers), replace(batch, messages=others)
