"""The turn loop: lease messages, run a turn, acknowledge; or release the messages and wait."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from typing import Final

from harness.backoff import Backoff
from harness.claude.session import ClaudeSession, TurnError
from harness.config import Config, Paths, Source, credentials
from harness.events.store import EventStore
from harness.hive_client import (
    ConnectionLostError,
    HiveClient,
    Message,
    Report,
    ToolError,
    reportable_model,
    succeeds,
)
from harness.inotify import DirectoryWatch, wait_for_change
from harness.notify import Notifier
from harness.prompts.prompt import wake_prompt
from harness.turns.batch import Batch
from harness.turns.state import State, transition
from harness.turns.turn import Turn

log = logging.getLogger(__name__)

MAX_BATCH: Final = 10
"""Messages of one turn."""

FIRST_RETRY: Final = 2.0
LAST_RETRY: Final = 300.0
NEW_SESSION_AFTER: Final = 2
"""Failures of Claude Code itself in a row, after which the session is abandoned."""


class TurnLoop:
    """The loop that runs one turn at a time."""

    def __init__(
        self,
        config: Config,
        paths: Paths,
        hive: HiveClient,
        claude: ClaudeSession,
        store: EventStore,
        notifier: Notifier,
    ) -> None:
        self._config = config
        self._paths = paths
        self._hive = hive
        self._claude = claude
        self._store = store
        self._notifier = notifier
        self._state = State.IDLE
        self._report = Report(State.IDLE.value)
        self._retry = Backoff(FIRST_RETRY, LAST_RETRY)
        self._receive_retry = Backoff(0.1, 10.0)
        self._session_failures = 0
        self._refused: Source | None = None
        # The messages of a turn that failed because of an outage of the model: they stay leased.
        self._held: Batch | None = None
        self._tools_generation = 0
        # Messages of finished turns whose acknowledgement may have failed: when such a message is
        # delivered again, it is acknowledged without a second turn.
        self._done: deque[int] = deque(maxlen=1000)

    async def run(self) -> None:
        """Handle messages until cancelled; then release the messages that are held."""
        try:
            while True:
                await self._hive.connected()
                if not await self._have_credentials():
                    continue
                batch = self._take_held() or await self._receive()
                if batch:
                    await self._handle(batch)
        finally:
            if batch := self._take_held():
                await self._release(batch)
            await self._claude.close()

    # --- receiving ---------------------------------------------------------------------------

    async def _receive(self) -> Batch | None:
        """Return the next messages that need a turn, or None if there are none yet."""
        await self._send_report()
        # After a failure one at a time, so that a message with which every turn fails is alone.
        receive = asyncio.create_task(
            self._hive.receive(1 if self._retry.failures else MAX_BATCH), name="receive"
        )
        try:
            await self._wait_and_close_idle(receive)
            messages = receive.result()
        except (ConnectionLostError, ToolError) as exc:
            if isinstance(exc, ToolError):
                log.warning("cannot receive: %s", exc)
                await asyncio.sleep(self._receive_retry.failed())
            return None
        finally:
            receive.cancel()
            await asyncio.wait({receive})
        self._receive_retry.succeeded()
        generation = self._hive.generation
        left = await self._without_done(messages)
        return Batch(tuple(left), generation) if left else None

    def _take_held(self) -> Batch | None:
        """Return the held messages; None if there are none or their lease has ended."""
        batch, self._held = self._held, None
        if batch and batch.generation != self._hive.generation:
            log.info("%s: queued again, because the connection was lost", _ids(batch.ids))
            return None
        return batch

    async def _release(self, batch: Batch) -> None:
        ids = batch.ids
        await succeeds(lambda: self._hive.release(ids), f"cannot release {_ids(ids)}")

    async def _wait_and_close_idle(self, receive: "asyncio.Task[list[Message]]") -> None:
        """Wait for `receive`; close Claude Code when that takes longer than session_idle.

        The call itself goes on: a cancelled call could leave messages leased to nobody.
        """
        if self._claude.is_open:
            await asyncio.wait({receive}, timeout=self._config.session_idle)
            if not receive.done():
                log.info("idle for %g s: closing Claude Code", self._config.session_idle)
                await self._claude.close()
        await asyncio.wait({receive})

    async def _without_done(self, messages: list[Message]) -> list[Message]:
        done = [message.id for message in messages if message.id in self._done]
        if done and await succeeds(
            lambda: self._hive.acknowledge(done), f"cannot acknowledge {_ids(done)}"
        ):
            log.info("acknowledged %s, done before the connection was lost", _ids(done))
        return [message for message in messages if message.id not in self._done]

    # --- a turn ------------------------------------------------------------------------------

    async def _handle(self, batch: Batch) -> None:
        ids = batch.ids
        senders = ", ".join(sorted({message.sender for message in batch.messages}))
        log.info("turn with %s from %s", _ids(ids), senders)
        await self._enter(State.THINKING)
        turn = Turn(self._store, batch.messages)
        try:
            prompt = wake_prompt(batch.messages, self._paths.state, retried=batch.retried)
            turn.woken(batch.messages, prompt)
            async with self._reconnecting_tools():
                await self._claude.turn(prompt, self._config.turn_timeout, turn.observe)
        except TurnError as exc:
            turn.end("failed", str(exc))
            await self._failed(exc, batch)
        except BaseException as exc:  # cancelled, or a bug: release the messages
            turn.end("cancelled", type(exc).__name__)
            await self._release(batch)
            raise
        else:
            turn.end("done")
            await self._succeeded(turn, ids)

    async def _succeeded(self, turn: Turn, ids: list[int]) -> None:
        self._done.extend(ids)
        await succeeds(lambda: self._hive.acknowledge(ids), f"cannot acknowledge {_ids(ids)}")
        self._retry.succeeded()
        self._session_failures = 0
        self._refused = None
        stats = turn.stats
        self._report = replace(
            self._report,
            logged_in=True,
            model=reportable_model(stats.model) or self._report.model,
            context_tokens=stats.context_tokens or self._report.context_tokens,
        )
        await self._enter(State.IDLE)

    async def _failed(self, failure: TurnError, batch: Batch) -> None:
        """Release or hold the messages, and wait until it is time for the next try.

        Released messages count as redelivered, so that a message with which every turn fails
        becomes a dead letter in the end. During an outage of the model the messages are held:
        otherwise the outage would make dead letters of all messages.
        """
        delay = self._retry.failed()
        log.error("turn failed, next try in %g s: %s", delay, failure)
        self._notifier.status(f"the last turn failed: {failure}")
        if failure.outage:
            self._held = replace(batch, retried=True)
        else:
            await self._release(batch)
            self._session_failures += 1
            if self._session_failures >= NEW_SESSION_AFTER:
                log.warning("abandoning the session: the next turn begins a new one")
                self._claude.forget()
                self._session_failures = 0
        if failure.login:
            self._report = replace(self._report, logged_in=False)
            self._refused = credentials(self._config, self._paths).source
        await self._enter(State.NEEDS_LOGIN if failure.login else State.ERROR)
        await self._claude.close()  # so that the next try uses new credentials
        # New credentials end the wait early.
        await wait_for_change(self._paths.claude, delay)

    @asynccontextmanager
    async def _reconnecting_tools(self) -> AsyncIterator[None]:
        """While inside, reconnect Claude Code's relay whenever the harness has reconnected."""
        generation = self._hive.generation
        if self._claude.is_open and self._tools_generation != generation:
            await self._claude.reconnect_tools()
        self._tools_generation = generation
        task = asyncio.create_task(self._reconnect_tools(), name="tools")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def _reconnect_tools(self) -> None:
        while True:
            self._tools_generation = await self._hive.connected(self._tools_generation)
            await self._claude.reconnect_tools()

    # --- credentials and reports -------------------------------------------------------------

    async def _have_credentials(self) -> bool:
        """Return whether a turn can be tried; if not, first wait for new credentials."""
        if self._source() is not Source.NONE:
            if self._refused is None:
                self._report = replace(self._report, logged_in=True)
                if self._state is State.NEEDS_LOGIN:
                    await self._enter(State.IDLE)
            return True
        self._report = replace(self._report, logged_in=False)
        self._paths.claude.mkdir(parents=True, exist_ok=True)
        await self._enter(State.NEEDS_LOGIN)
        with DirectoryWatch(self._paths.claude) as watch:
            if self._source() is Source.NONE:  # look again: from now on no change is missed
                await self._wait_for_change_or_reconnect(watch)
        return False

    async def _wait_for_change_or_reconnect(self, watch: DirectoryWatch) -> None:
        """Wait for a change, or for a new connection, on which the state must be reported."""
        tasks = [
            asyncio.create_task(watch.change(), name="credentials"),
            asyncio.create_task(self._hive.connected(self._hive.generation), name="reconnect"),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    def _source(self) -> Source:
        return credentials(self._config, self._paths).source

    async def _enter(self, state: State) -> None:
        self._state = transition(self._state, state)
        if state is not State.ERROR:
            self._notifier.status(state.value)
        self._report = replace(self._report, turn_state=state.value)
        await self._send_report()

    async def _send_report(self) -> None:
        self._store.report(**asdict(self._report))
        await succeeds(lambda: self._hive.report(self._report), "cannot report")


def _ids(ids: list[int]) -> str:
    return f"message {ids[0]}" if len(ids) == 1 else f"messages {', '.join(map(str, ids))}"
