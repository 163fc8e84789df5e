"""The turn loop: lease, wake prompt, turn, acknowledge; or release and leave it alone a while."""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final

from harness.backoff import Backoff
from harness.batch import Batch
from harness.claude import Claude, TurnError
from harness.config import Config, Paths, Source, credentials
from harness.hive_client import ConnectionGoneError, HiveClient, Message, ToolError, insist
from harness.notify import Notifier
from harness.prompt import wake_prompt
from harness.record import Record
from harness.state import State, moved
from harness.turn import Turn
from harness.watch import Watch, wait_for_change

log = logging.getLogger(__name__)

BATCH: Final = 10
"""Messages that one turn takes at most."""

FIRST_RETRY: Final = 2.0
LAST_RETRY: Final = 300.0
FRESH_SESSION_AFTER: Final = 2
"""Failures of Claude Code itself in a row, after which the session is given up."""


class TurnLoop:
    """Runs one turn at a time, for ever."""

    def __init__(
        self,
        config: Config,
        paths: Paths,
        endpoint: HiveClient,
        claude: Claude,
        record: Record,
        notifier: Notifier,
    ) -> None:
        self._config = config
        self._paths = paths
        self._endpoint = endpoint
        self._claude = claude
        self._record = record
        self._notifier = notifier
        self._state = State.IDLE
        self._report: dict[str, Any] = {"turn_state": State.IDLE.value}
        self._retry = Backoff(FIRST_RETRY, LAST_RETRY)
        self._unreceived = Backoff(0.1, 10.0)
        self._broken_sessions = 0
        self._refused: Source | None = None
        # What a turn could not be had for, because the model was away: it stays leased.
        self._kept: Batch | None = None
        self._tools_generation = 0
        # Turns that were done, but whose acknowledgement did not get through: when such a
        # message comes again it is acknowledged without a second turn.
        self._done: deque[int] = deque(maxlen=1000)

    async def run(self) -> None:
        """Handles messages until it is cancelled; then what it holds is released."""
        try:
            while True:
                await self._endpoint.connected()
                if not await self._have_credentials():
                    continue
                batch = self._take_kept() or await self._receive()
                if batch:
                    await self._handle(batch)
        finally:
            if batch := self._take_kept():
                await self._release(batch)
            await self._claude.close()

    # --- receiving ---------------------------------------------------------------------------

    async def _receive(self) -> Batch | None:
        """The next messages that need a turn; None when the wait was in vain."""
        await self._tell()
        # After a failure one at a time, so that a message that no turn survives is alone.
        receive = asyncio.create_task(
            self._endpoint.receive(1 if self._retry.failures else BATCH), name="receive"
        )
        try:
            await self._await_with_idle_limit(receive)
            messages = receive.result()
        except (ConnectionGoneError, ToolError) as exc:
            if isinstance(exc, ToolError):
                log.warning("cannot receive: %s", exc)
                await asyncio.sleep(self._unreceived.failed())
            return None
        finally:
            receive.cancel()
            await asyncio.wait({receive})
        self._unreceived.succeeded()
        generation = self._endpoint.generation
        left = await self._without_done(messages)
        return Batch(tuple(left), generation) if left else None

    def _take_kept(self) -> Batch | None:
        """What was kept for another try; None when its lease went with its connection."""
        batch, self._kept = self._kept, None
        if batch and batch.generation != self._endpoint.generation:
            log.info("%s: queued again with the connection that was lost", _ids(batch.ids))
            return None
        return batch

    async def _release(self, batch: Batch) -> None:
        ids = batch.ids
        await insist(lambda: self._endpoint.release(ids), f"cannot release {_ids(ids)}")

    async def _await_with_idle_limit(self, receive: "asyncio.Task[list[Message]]") -> None:
        """Waits for `receive`; closes Claude Code when that takes longer than session_idle.

        The call itself goes on: to cancel it could leave a message leased to nobody.
        """
        if self._claude.is_open:
            await asyncio.wait({receive}, timeout=self._config.session_idle)
            if not receive.done():
                log.info("nothing to do for %g s: Claude Code ends", self._config.session_idle)
                await self._claude.close()
        await asyncio.wait({receive})

    async def _without_done(self, messages: list[Message]) -> list[Message]:
        done = [message.id for message in messages if message.id in self._done]
        if done and await insist(lambda: self._endpoint.acknowledge(done), "late acknowledge"):
            log.info("acknowledged %s, done before the connection was lost", _ids(done))
        return [message for message in messages if message.id not in self._done]

    # --- a turn ------------------------------------------------------------------------------

    async def _handle(self, batch: Batch) -> None:
        ids = batch.ids
        senders = ", ".join(sorted({message.sender for message in batch.messages}))
        log.info("turn with %s from %s", _ids(ids), senders)
        await self._enter(State.THINKING)
        turn = Turn(self._record, ids)
        try:
            prompt = wake_prompt(batch.messages, self._paths.state, again=batch.again)
            self._record.event("wake", messages=ids, prompt=prompt)
            async with self._tools_stay_connected():
                await self._claude.turn(prompt, self._config.turn_timeout, turn.seen)
        except TurnError as exc:
            turn.end("failed", str(exc))
            await self._failed(exc, batch)
        except BaseException as exc:  # cancelled, or a mistake of ours: give the messages back
            turn.end("cancelled", type(exc).__name__)
            await self._release(batch)
            raise
        else:
            turn.end("done")
            await self._succeeded(turn, ids)

    async def _succeeded(self, turn: Turn, ids: list[int]) -> None:
        self._done.extend(ids)
        await insist(lambda: self._endpoint.acknowledge(ids), f"cannot acknowledge {_ids(ids)}")
        self._retry.succeeded()
        self._broken_sessions = 0
        self._refused = None
        stats = turn.stats
        self._report["logged_in"] = True
        self._report |= {
            key: value
            for key, value in (("model", stats.model), ("context_tokens", stats.context_tokens))
            if value is not None
        }
        await self._enter(State.IDLE)

    async def _failed(self, failure: TurnError, batch: Batch) -> None:
        """Receives nothing before the time for a retry has come.

        Messages that a turn failed with are given back, which counts as a redelivery: some day one
        that no turn survives is given up. They are kept when the model is to blame, or an outage
        of its API would make dead letters of everything.
        """
        delay = self._retry.failed()
        log.error("turn failed, next try in %g s: %s", delay, failure)
        self._notifier.status(f"the last turn failed: {failure}")
        if failure.by_model:
            self._kept = replace(batch, again=True)
        else:
            await self._release(batch)
            self._broken_sessions += 1
            if self._broken_sessions >= FRESH_SESSION_AFTER:
                log.warning("giving up the session: the next turn begins a new one")
                self._claude.forget()
                self._broken_sessions = 0
        if failure.login:
            self._report["logged_in"] = False
            self._refused = credentials(self._config, self._paths).source
        await self._enter(State.NEEDS_LOGIN if failure.login else State.ERROR)
        await self._claude.close()  # so that the next try takes new credentials
        # New credentials end the wait early.
        await wait_for_change(self._paths.claude, delay)

    @asynccontextmanager
    async def _tools_stay_connected(self) -> AsyncIterator[None]:
        """While inside, Claude Code's relay is renewed whenever ours had to reconnect."""
        generation = self._endpoint.generation
        if self._claude.is_open and self._tools_generation != generation:
            await self._claude.reconnect_tools()
        self._tools_generation = generation
        keeper = asyncio.create_task(self._keep_tools(), name="tools")
        try:
            yield
        finally:
            keeper.cancel()
            await asyncio.wait({keeper})

    async def _keep_tools(self) -> None:
        while True:
            self._tools_generation = await self._endpoint.connected(self._tools_generation)
            await self._claude.reconnect_tools()

    # --- credentials and reports -------------------------------------------------------------

    async def _have_credentials(self) -> bool:
        """Whether a turn can be tried; without credentials it waits until some appear."""
        if self._source() is not Source.NONE:
            if self._refused is None:
                self._report["logged_in"] = True
                if self._state is State.NEEDS_LOGIN:
                    await self._enter(State.IDLE)
            return True
        self._report["logged_in"] = False
        self._paths.claude.mkdir(parents=True, exist_ok=True)
        await self._enter(State.NEEDS_LOGIN)
        with Watch(self._paths.claude) as watch:
            if self._source() is Source.NONE:  # once more: now that nothing can be missed
                await self._until_change_or_reconnect(watch)
        return False

    async def _until_change_or_reconnect(self, watch: Watch) -> None:
        """A new connection has to be told our state again."""
        tasks = [
            asyncio.create_task(watch.change(), name="credentials"),
            asyncio.create_task(
                self._endpoint.connected(self._endpoint.generation), name="reconnect"
            ),
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
        self._state = moved(self._state, state)
        if state is not State.ERROR:
            self._notifier.status(state.value)
        self._report["turn_state"] = state.value
        await self._tell()

    async def _tell(self) -> None:
        await insist(lambda: self._endpoint.report(**self._report), "cannot report")


def _ids(ids: list[int]) -> str:
    return f"message {ids[0]}" if len(ids) == 1 else f"messages {', '.join(map(str, ids))}"
