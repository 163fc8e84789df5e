"""The turn loop: it does the errands that are due, waits, and runs turns with leased messages."""

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

from harness.claude.permissions import Permissions
from harness.hive_client import Report
from harness.logins import Logins
from harness.notes import Notes
from harness.tools.todo import TodoList
from harness.turns.batch import Batch
from harness.turns.commands import Commands
from harness.turns.consequences import Consequences
from harness.turns.credential_watch import CredentialWatch
from harness.turns.current import CurrentTurn
from harness.turns.errands import Errands
from harness.turns.inbox import names
from harness.turns.parts import Parts
from harness.turns.provider_limit import ProviderLimit
from harness.turns.runner import TurnRunner
from harness.turns.started import CHANGED
from harness.turns.state import State
from harness.turns.steering import Steering
from harness.turns.turn import Turn
from harness.turns.waker import Waker

if TYPE_CHECKING:
    from harness.telemetry.telemetry import Telemetry

log = logging.getLogger(__name__)

MAX_BATCH: Final = 10
"""Messages of one turn."""

COMES_AGAIN: Final = 1.0
"""Seconds in which a message comes again that was released, unless it is a dead letter now."""


class TurnLoop:
    """The loop that runs one turn at a time."""

    def __init__(
        self,
        parts: Parts,
        notes: Notes,
        todo: TodoList,
        permissions: Permissions,
        logins: Logins,
        telemetry: "Telemetry | None" = None,
    ) -> None:
        self._config = parts.config
        self._hive = parts.hive
        self._inbox = parts.inbox
        self._claude = parts.claude
        self._choices = parts.choices
        self._store = parts.store
        self._reporter = parts.reporter
        self._projects = parts.projects
        self._telemetry = telemetry
        self._waker = waker = Waker()
        self._limit = limit = ProviderLimit(parts.reporter)
        self._credentials = credentials = CredentialWatch(parts, waker)
        self._runner = runner = TurnRunner(parts, todo, permissions)
        self._errands = errands = Errands(parts, runner, notes, credentials, telemetry)
        self._consequences = Consequences(parts, runner, errands, limit, credentials)
        self._steering = Steering(parts, errands, limit, waker)
        self._commands = Commands(parts, self._steering, logins)
        parts.hive.on_command = self._commands.take
        parts.projects.on_move = waker.wake

    async def run(self) -> None:
        """Handle messages until cancelled; then release the messages that are held."""
        self._reporter.update(
            Report(
                session=self._claude.id or "",
                model_setting=self._choices.setting(self._config.model),
                effort=self._choices.effort or "",
            )
        )
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
        self._waker.clear()
        if self._errands.are_due:
            await self._errands.do_next()
            return
        if self._limit.in_force:
            self._reporter.enter(State.RATE_LIMITED, self._limit.reason, self._limit.until)
            await self._waker.wait(until=self._limit.until)
            return
        if self._limit.has_ended() and self._reporter.state is State.RATE_LIMITED:
            if not self._config.resume_after_limit:
                # The hive holds the inbox, and asks the operator whether this agent goes on.
                await self._inbox.give_back()
            self._reporter.enter(State.IDLE)
        if not await self._credentials.available():
            return
        batch = await self._inbox.take() or self._own_turn() or await self._receive()
        if batch:
            await self._handle(batch)

    async def _receive(self) -> Batch | None:
        """Return the next messages that need a turn, or None if there are none yet."""
        await self._inbox.pause()
        # After a failure one at a time, so that a message with which every turn fails is alone.
        self._inbox.receiving(1 if self._consequences.failing else MAX_BATCH)
        await self._end_of_failure()
        deadline, errand = self._errands.when_idle()
        await self._waker.wait(*self._inbox.calls, until=deadline)
        if self._errands.are_due:  # the turn comes after them
            return None
        batch = await self._inbox.take()
        if batch is None and errand and deadline is not None and time.time() >= deadline:
            self._errands.add(errand)
        return batch

    async def _end_of_failure(self) -> None:
        """Be idle after a failure if nothing is tried again: its messages are gone."""
        if self._reporter.state not in (State.ERROR, State.RATE_LIMITED):
            return
        until = time.time() + COMES_AGAIN
        await self._waker.wait(*self._inbox.calls, until=until)
        failed = self._reporter.state in (State.ERROR, State.RATE_LIMITED)  # or cancelled meanwhile
        if failed and time.time() >= until:
            reason = self._reporter.reason
            self._reporter.enter(State.IDLE, f"the last turn failed: {reason}" if reason else "")

    def _own_turn(self) -> Batch | None:
        """Return a turn without messages, if the agent is to be told of something at once."""
        start = self._runner.starts.untold
        changed = self._config.wake_after_deploy and start and start.verb in CHANGED
        if changed or self._projects.has_moved:
            return Batch((), self._hive.generation)
        return None

    async def _handle(self, batch: Batch) -> None:
        """Run a turn, and see to its consequences."""
        senders = ", ".join(sorted({message.sender for message in batch.messages}))
        log.info("turn with %s from %s", names(batch.ids), senders or "the harness")
        turn = Turn(self._store, batch.messages, self._telemetry)
        self._reporter.enter(State.THINKING)
        self._reporter.update(Report(in_turn=True))
        current = self._steering.current = CurrentTurn(batch)
        task = current.task = asyncio.create_task(self._runner.run(current, turn), name="turn")
        delay = 0.0
        try:
            await asyncio.wait({task})
            delay = await self._consequences.of(current, turn, task)
        except BaseException as exc:  # cancelled, or a bug: release the messages
            task.cancel()
            await asyncio.wait({task})
            turn.end("cancelled", type(exc).__name__)
            await self._inbox.release(current.seen(frozenset()))
            raise
        finally:
            self._steering.current = None
            current.over.set()
            self._reporter.update(Report(in_turn=False))
        self._errands.idle_from_now()
        if delay:
            await self._credentials.wait_for_retry(delay)
