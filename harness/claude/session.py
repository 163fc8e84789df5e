"""The session of Claude Code: its turns and compactions, resumed after Claude Code was closed."""

import asyncio
import logging
import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.claude import failures, process
from harness.claude.cgroup import Cgroup
from harness.claude.compaction import COMMAND, COMPACT_TIMEOUT, Compaction, CompactionObserver
from harness.claude.failures import Failure, TurnError
from harness.claude.process import INTERRUPT_TIMEOUT, ClaudeProcess
from harness.claude.run import Outcome, Run, write
from harness.claude.session_id import SessionId

if TYPE_CHECKING:
    from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, Message

    from harness.claude.run import Observer

log = logging.getLogger(__name__)

CANCEL_TIMEOUT: Final = float(os.environ.get("HIVE_CANCEL_TIMEOUT", "0.8"))
"""Seconds that Claude Code has to end a turn that the operator cancels. It needs 20 ms; then it is
killed. Tests set another value where a busy machine must not have it killed.
"""

_NO_SESSION: Final = "No conversation found"
"""Claude Code's words when the session to resume does not exist."""


class ClaudeSession:
    """A session of Claude Code.

    Args:
        options: returns the options for a start, given the id of the session to resume, or None.
        session_file: the file that keeps the session's id across restarts.
        commands: the control group of a turn's commands, if there is one.
        group: the control group of Claude Code and its MCP servers, if there is one.
        start_timeout: seconds that Claude Code has to start.

    Attributes:
        unread: The prompts that the model has not read, however their turns ended. The caller of
            `turn` empties it first.
        runs: How many turns and compactions have begun.
    """

    def __init__(
        self,
        options: "Callable[[str | None], ClaudeAgentOptions]",
        session_file: Path,
        commands: Cgroup | None = None,
        group: Cgroup | None = None,
        start_timeout: float = 60.0,
    ) -> None:
        self._process = ClaudeProcess(options, commands, group, start_timeout)
        self._id = SessionId(session_file)
        self._run: Run | None = None
        self._next = asyncio.Event()
        self.unread: frozenset[str] = frozenset()
        self.runs = 0

    @property
    def is_open(self) -> bool:
        """Whether a Claude Code process is running."""
        return self._process.client is not None

    @property
    def is_answering(self) -> bool:
        """Whether a turn or a compaction runs, which `cancel` would interrupt."""
        return self._run is not None

    @property
    def id(self) -> str | None:
        """The id of the session; None if there is none yet."""
        return self._id.value

    async def open(self) -> str | None:
        """Start Claude Code, unless it runs, and resume the session.

        Returns:
            Why the session could not be resumed, if a new one was begun in its place.

        Raises:
            TurnError: Claude Code does not start.
        """
        if self.is_open:
            return None
        resume, lost = self.id, None
        try:
            await self._process.start(resume)
        except TurnError as exc:
            if not resume or _NO_SESSION not in str(exc):
                raise
            log.warning("the session %s cannot be resumed: %s", resume, exc)
            lost = "Claude Code has no record of it"
            self.forget()
            await self._process.start(None)
        return lost

    def forget(self) -> None:
        """Forget the session: the next start begins a new one."""
        self._id.forget()

    async def close(self) -> None:
        """End Claude Code and everything that it started; the session can be resumed."""
        await self._process.close()

    async def kill(self) -> None:
        """Kill Claude Code and everything that it started; the session can be resumed."""
        await self._process.kill()

    async def reconnect_tools(self) -> None:
        """Make Claude Code restart its relay to the hive, after the hive closed the connection."""
        await self._process.reconnect_tools()

    # --- turns -------------------------------------------------------------------------------

    async def turn(self, prompt: str, timeout: float, observe: "Observer") -> Outcome:
        """Run one turn in the open session, and kill the processes that its commands have left.

        When the turn takes too long, it is interrupted. When the call is cancelled, Claude Code is
        closed, too.

        Args:
            prompt: the prompt of the turn.
            timeout: seconds that the turn may take.
            observe: called with every message of the turn.

        Raises:
            TurnError: the turn failed.
        """
        run = self._run = Run()
        try:
            outcome = await self._ask(run, prompt, timeout, observe, verbatim=True)
        finally:
            self._run = None
            self.unread |= run.unseen
            run.over.set()
            self._process.kill_commands()
        result = outcome.result
        self._id.remember(result.session_id)
        if result.is_error and not outcome.interrupted:
            raise failures.of_result(result, run.error, run.limit_until)
        return outcome

    async def say(self, prompt: str, *, interrupt: bool = False) -> str | None:
        """Put a prompt into the running turn; the model reads it at the next boundary of a tool.

        Args:
            prompt: the prompt.
            interrupt: whether to interrupt the model and its tools first.

        Returns:
            The id of the prompt; None if there is no turn that can take it.
        """
        run, client = self._run, self._process.client
        if run is None or client is None or not run.is_turn:
            return None
        if run.cancelled or run.over.is_set():
            return None
        number = str(uuid.uuid4())
        run.writing += 1  # the turn does not end meanwhile
        try:
            if interrupt:
                await process.interrupt(client)
                self._process.kill_commands()
            run.sent.add(number)
            await write(client, prompt, number, verbatim=True)
        except Exception as exc:  # the process has just ended
            log.warning("Claude Code takes no further prompt: %s", exc)
            run.sent.discard(number)
            return None
        finally:
            run.writing -= 1
        return number

    async def begun(self, after: int) -> None:
        """Wait until `runs` is above `after`; then a prompt of the next one was sent."""
        while self.runs <= after:
            await self._next.wait()

    def pause_clock(self) -> bool:
        """Stop the clock of the turn's time limit; return whether a turn runs."""
        return self._run is not None and self._run.pause_clock()

    def resume_clock(self) -> None:
        """Let the clock of the turn's time limit run again."""
        if self._run is not None:
            self._run.resume_clock()

    async def cancel(self) -> None:
        """Interrupt the running turn or compaction; kill Claude Code if it does not obey at once.

        Return when the turn is over.
        """
        run, client = self._run, self._process.client
        if run is None or client is None:
            return
        run.cancelled = True
        with suppress(TimeoutError):
            async with asyncio.timeout(CANCEL_TIMEOUT):
                if await process.interrupt(client):
                    self._process.kill_commands()
                    await run.over.wait()
        if not run.over.is_set():
            log.warning("Claude Code does not obey the interrupt: killing it")
            await self.kill()

    async def compact(self, observe: "Observer") -> Compaction:
        """Have Claude Code condense the session's context.

        Raises:
            TurnError: the context could not be compacted.
        """
        run = self._run = Run(is_turn=False)
        observer = CompactionObserver(observe)
        try:
            outcome = await self._ask(run, COMMAND, COMPACT_TIMEOUT, observer, verbatim=False)
        finally:
            self._run = None
            run.over.set()
        return observer.done(run, outcome)

    async def _ask(
        self,
        run: Run,
        prompt: str,
        timeout: float,
        observe: "Observer",
        *,
        verbatim: bool,
    ) -> Outcome:
        """Send a prompt, and read the answer to its end.

        Raises:
            TurnError: there is no complete answer; Claude Code is closed, unless it obeyed the
                interrupt when the time was over.
        """
        from claude_agent_sdk import ClaudeSDKError, SystemMessage

        client = self._process.client
        if client is None:
            raise TurnError("Claude Code is not running", Failure.CLAUDE)
        number = str(uuid.uuid4())
        run.sent.add(number)
        run.seen.add(number)

        def see(message: "Message") -> None:
            if isinstance(message, SystemMessage) and message.subtype == "init":
                self._id.remember(str(message.data.get("session_id") or ""))
            observe(message)

        try:
            async with asyncio.timeout(timeout) as run.clock:
                await write(client, prompt, number, verbatim=verbatim)
                self._has_begun()
                await run.read(client, see)
        except TimeoutError:
            run.clock = None
            alive = await self._cut_off(client, run, see)
            words = f"the turn took more than {timeout:g} s"
            raise TurnError(words, Failure.TIME, alive=alive) from None
        except asyncio.CancelledError:
            await process.interrupt(client)  # so that the session tells it
            await self.close()
            raise
        except (ClaudeSDKError, OSError) as exc:
            await self.close()
            if run.outcome is None:
                raise TurnError(f"Claude Code failed: {exc}", Failure.CLAUDE) from None
        if run.outcome is None:
            await self.close()
            raise TurnError("Claude Code ended in the middle of the turn", Failure.CLAUDE)
        if run.unseen:  # it must not begin with them by itself
            await self.kill()
        return run.outcome

    def _has_begun(self) -> None:
        self.runs += 1
        self._next.set()
        self._next = asyncio.Event()

    async def _cut_off(self, client: "ClaudeSDKClient", run: Run, observe: "Observer") -> bool:
        """Interrupt a turn that is over its limit; return whether Claude Code still runs."""
        run.cancelled = True
        try:
            if await process.interrupt(client):
                self._process.kill_commands()
                async with asyncio.timeout(INTERRUPT_TIMEOUT):
                    await run.read(client, observe)
                if run.outcome is not None and not run.unseen:
                    return True
        except Exception as exc:  # also bare Exceptions of the SDK
            log.warning("Claude Code has not ended its turn: %s", exc or type(exc).__name__)
        await self.kill()
        return False
