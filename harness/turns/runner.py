"""One turn: the session is opened, the prompt composed, and the answer observed."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from harness.claude import failures
from harness.claude.failures import Failure, TurnError
from harness.claude.permissions import Permissions
from harness.claude.run import Outcome
from harness.claude.user_file import UserFile
from harness.hive_client import Message as Delivered
from harness.hive_client import Report
from harness.prompts import news
from harness.prompts.prompt import urgent_prompt, wake_prompt
from harness.tools.todo import TodoList
from harness.turns.batch import Batch
from harness.turns.current import NO_AGENTS, CurrentTurn
from harness.turns.parts import Parts
from harness.turns.started import Starts
from harness.turns.state import State
from harness.turns.turn import Turn

if TYPE_CHECKING:
    from claude_agent_sdk import Message

    from harness.claude.run import Observer

log = logging.getLogger(__name__)

MAX_OF_AGENTS: Final = 10
"""Urgent messages of agents that are put into one turn; the next ones begin the next turn.
Otherwise agents that send them all the time keep a turn going until its time limit.
"""


class TurnRunner:
    """The runner of turns in the agent's session."""

    def __init__(self, parts: Parts, todo: TodoList, permissions: Permissions) -> None:
        self._config = parts.config
        self._paths = parts.paths
        self._hive = parts.hive
        self._claude = parts.claude
        self._store = parts.store
        self._reporter = parts.reporter
        self._inbox = parts.inbox
        self._projects = parts.projects
        self._made = 0
        self._todo = todo
        self._forgetful = True
        """Whether the model's context may have lost the list of steps."""
        self._permissions = permissions
        permissions.on_waiting = self._waiting
        self._tools_generation = 0
        self._cut_off: set[int] = set()
        self._news: list[str] = []
        self.starts = Starts(
            self._config.started, self._paths.state, is_new=self._claude.id is None
        )

    async def run(self, current: CurrentTurn, turn: Turn) -> Outcome:
        """Run a turn.

        Raises:
            TurnError: the turn failed.
        """
        await self._projects.prepare()
        if self._projects.made != self._made:
            self._made = self._projects.made
            await self._claude.close()  # it works in another directory
        await self._open()
        from claude_agent_sdk import StreamEvent  # after it was loaded in a thread

        prompt = self._prompt(current, await self._projects.news())
        self._claude.unread = frozenset()
        turn.woken(current.batch.messages, prompt)

        def observe(message: "Message") -> None:
            turn.observe(message)
            if isinstance(message, StreamEvent) and self._reporter.state is State.THINKING:
                return  # there are many of them
            current.activity.observe(message)
            self._watch(message)
            self._reporter.activity(current.activity.now)

        try:
            async with self._reconnecting_tools(), self._delivering_urgent(current, turn):
                outcome = await self._ask(prompt, observe)
        except TurnError as exc:
            if exc.failure is Failure.TIME:
                self._cut_off.update(
                    id for batch in current.seen(self._claude.unread) for id in batch.ids
                )
                self._told()
            raise
        finally:
            self._reporter.activity("")
        self._told()
        self._cut_off.difference_update(current.batch.ids)
        return outcome

    async def compact(self, reason: str) -> int:
        """Compact the session's context; return the tokens that are left in it.

        Args:
            reason: why, in a few words.

        Raises:
            TurnError: the context could not be compacted.
        """
        state = self._reporter.state
        self._reporter.enter(State.COMPACTING, reason)
        try:
            await self._open()
            done = await self._claude.compact(lambda message: self._watch(message, in_turn=False))
        finally:
            after = state if state in (State.THINKING, State.IDLE) else State.IDLE
            self._reporter.enter(after)
        self._store.event("compacted", trigger="manual", before=done.before, after=done.after)
        log.info("compacted the context (%s): %d -> %d tokens", reason, done.before, done.after)
        self._reporter.update(Report(context_tokens=done.after))
        return done.after

    async def forget_session(self, sentence: str) -> None:
        """Close the session for good; the next prompt says so.

        Args:
            sentence: the sentence for the next prompt.
        """
        await self._claude.close()
        self._claude.forget()
        self._permissions.forget()
        self._news = [sentence]
        self._cut_off.clear()
        self._reporter.update(Report(session="", context_tokens=0))

    def note(self, text: str, level: str = "warning") -> None:
        """Record a note for the agent's page."""
        log.warning("%s", text)
        self._store.note(text, level)

    async def _open(self) -> None:
        """Open the session.

        Raises:
            TurnError: Claude Code does not start.
        """
        if self._claude.is_open:
            return
        try:
            self._paths.claude.mkdir(mode=0o700, parents=True, exist_ok=True)
            repaired = UserFile(self._paths.claude, self._paths.claude.parent).repair()
        except OSError as exc:
            raise TurnError(f"Claude Code does not start: {exc}", Failure.START) from None
        if repaired:
            self.note(repaired)
        lost = await self._claude.open()
        self._tools_generation = self._hive.generation
        if lost:
            self.note(f"The session could not be continued, and a new one was begun: {lost}.")
            self._news = [news.lost_session(lost)]
            self._cut_off.clear()

    def _prompt(self, current: CurrentTurn, of_projects: Sequence[str]) -> str:
        batch = current.batch
        told = list(self._news)
        if start := self.starts.untold:
            told.append(news.started(start, continues=self._claude.id is not None))
        if (self._forgetful or told) and (left := self._todo.reminder()):
            told.append(left)
        if self._cut_off.intersection(batch.ids):
            told.append(news.cut_off(self._config.turn_timeout))
        told += of_projects
        messages = [self._permissions.late(message) for message in batch.messages]
        return wake_prompt(messages, self._paths.state, retried=batch.retried, news=told)

    def _told(self) -> None:
        """Take note that the model has read the news."""
        self._news.clear()
        self._forgetful = False
        self.starts.told()
        self._projects.told()

    async def _ask(self, prompt: str, observe: "Observer") -> Outcome:
        """Ask the model; compact the context and ask again if the prompt is too long for it."""
        limit = self._config.turn_timeout
        try:
            return await self._claude.turn(prompt, limit, observe)
        except TurnError as exc:
            if exc.failure is not Failure.TOO_LONG:
                raise
            self.note(f"The context is compacted, because {exc}.")
            too_long = exc
        try:
            await self.compact("the prompt was too long")
        except TurnError as exc:
            raise TurnError(f"{too_long}; {exc}", Failure.TOO_LONG) from None
        return await self._claude.turn(prompt, limit, observe)

    def _waiting(self, reason: str | None) -> None:
        """Show that the turn waits for the operator; its time limit does not run meanwhile."""
        if reason is None:
            self._claude.resume_clock()
            if self._reporter.state is State.WAITING:
                self._reporter.enter(State.THINKING)
        elif self._claude.pause_clock():
            self._reporter.enter(State.WAITING, reason)

    def _watch(self, message: "Message", *, in_turn: bool = True) -> None:
        """Derive the state from a message."""
        from claude_agent_sdk import AssistantMessage, RateLimitEvent, StreamEvent, SystemMessage

        state = self._reporter.state
        match message:
            case SystemMessage(subtype="api_retry"):
                data = message.data
                limited, reason = failures.of_retry(
                    data.get("error_status"), str(data.get("error") or "")
                )
                until = time.time() + float(data.get("retry_delay_ms") or 0) / 1000
                reason += f", try {data.get('attempt')} of {data.get('max_retries')}"
                self._reporter.enter(State.RATE_LIMITED if limited else State.ERROR, reason, until)
            case SystemMessage(subtype="status"):
                if message.data.get("status") == "compacting":
                    self._reporter.enter(State.COMPACTING)
                elif state is State.COMPACTING and in_turn:
                    self._reporter.enter(State.THINKING)
            case SystemMessage(subtype="compact_boundary"):
                self._forgetful = True
            case RateLimitEvent() if message.rate_limit_info.status == "rejected":
                until = message.rate_limit_info.resets_at or 0
                words = f"the limit {message.rate_limit_info.rate_limit_type or ''} is reached"
                self._reporter.enter(State.RATE_LIMITED, words, until)
            case AssistantMessage() | StreamEvent() if state in (State.RATE_LIMITED, State.ERROR):
                if not (isinstance(message, AssistantMessage) and message.error):
                    self._reporter.enter(State.THINKING)

    @asynccontextmanager
    async def _delivering_urgent(self, current: CurrentTurn, turn: Turn) -> AsyncIterator[None]:
        """While inside, put urgent messages into the turn."""
        task = asyncio.create_task(self._deliver_urgent(current, turn), name="urgent")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})
            if not task.cancelled():
                task.result()  # it ends by itself only if it has a bug

    async def _deliver_urgent(self, current: CurrentTurn, turn: Turn) -> None:
        while True:
            await self._hive.connected()
            batch = await self._inbox.receive_urgent()
            if batch is None:
                await self._inbox.pause()
                continue
            batch = await self._for_the_model(current, batch)
            if batch is None:
                continue
            messages = [self._permissions.late(message) for message in batch.messages]
            prompt = urgent_prompt(messages, self._paths.state)
            interrupt = any(message.interrupt for message in batch.messages)
            number = await self._say(prompt, interrupt=interrupt)
            self._inbox.withdraw(batch)
            current.urgent.append((number, batch))
            turn.urgent(batch.messages, prompt)

    async def _say(self, prompt: str, *, interrupt: bool) -> str:
        """Put a prompt into the turn; return its id.

        The context may be compacted, and the model is asked again afterwards: wait for that. If
        the turn ends instead, the call is cancelled, and the messages begin the next turn.
        """
        while True:
            run = self._claude.runs
            number = await self._claude.say(prompt, interrupt=interrupt)
            if number is not None:
                return number
            await self._claude.begun(after=run)

    async def _for_the_model(self, current: CurrentTurn, batch: Batch) -> Batch | None:
        """Take the answers for which calls wait out of a batch; return the urgent rest of it.

        The other messages wait for the next turn, as all of them do until somebody withdraws them.
        """
        room = MAX_OF_AGENTS - current.urgent_of_agents
        now: list[Delivered] = []
        later: list[Delivered] = []
        for message in batch.messages:
            if await self._permissions.take(message):
                continue
            of_agent = message.sender not in NO_AGENTS
            if message.urgent and (room > 0 or not of_agent):
                now.append(message)
                room -= of_agent
            else:
                later.append(message)
        self._inbox.withdraw(batch)
        if later:
            self._inbox.hold(replace(batch, messages=tuple(later)))
        urgent = replace(batch, messages=tuple(now))
        if urgent.messages:
            self._inbox.put_back(urgent)
        return urgent if urgent.messages else None

    @asynccontextmanager
    async def _reconnecting_tools(self) -> AsyncIterator[None]:
        """While inside, reconnect Claude Code's relay whenever the harness has reconnected."""
        generation = self._hive.generation
        if self._tools_generation != generation:
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
