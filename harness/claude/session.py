"""Claude Code, kept alive between turns and resumed after it was closed."""

import asyncio
import importlib
import logging
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.claude import failures
from harness.claude.cgroup import Cgroup
from harness.claude.failures import Failure, TurnError
from harness.jsonvalues import JsonObject

if TYPE_CHECKING:
    from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, Message, ResultMessage

    Observer = Callable[[Message], None]
    """Called with every message of Claude Code."""

log = logging.getLogger(__name__)

CANCEL_TIMEOUT: Final = 0.8
"""Seconds that Claude Code has to end a turn that the operator cancels. It needs 20 ms; then it is
killed.
"""

INTERRUPT_TIMEOUT: Final = 5.0
"""Seconds that Claude Code has to obey another interrupt."""

CLOSE_TIMEOUT: Final = 12.0
"""Seconds that Claude Code has to end."""

KILL_GRACE: Final = 15.0
"""Seconds that the SDK has to notice the end of a Claude Code that was killed while it started."""

NEXT_RUN: Final = 10.0
"""Seconds in which Claude Code goes on with a prompt that came too late for the running answer."""

COMPACT_TIMEOUT: Final = 600.0

HIVE_SERVER: Final = "hive"
"""The name of the MCP server that is the hive."""

SDK: Final = "claude_agent_sdk"
"""Loaded for the first turn: it needs a second of processor time and 40 MB, which an idle agent
saves.
"""

_NO_SESSION: Final = "No conversation found"
"""Claude Code's words when the session to resume does not exist."""

_NO_ANSWER: Final = "Control request timeout"
"""The SDK's words when Claude Code has started and does not answer."""

_ABORTED: Final = ("aborted_streaming", "aborted_tools")


@dataclass(frozen=True)
class Outcome:
    """The end of a turn.

    Attributes:
        result: The last result.
        interrupted: Whether the turn was interrupted and did not go on.
    """

    result: "ResultMessage"
    interrupted: bool


@dataclass(frozen=True)
class Compaction:
    """The tokens of the context before and after a compaction."""

    before: int
    after: int


@dataclass
class _Run:
    """The prompts of a running turn, and what is known of their answers."""

    is_turn: bool = True
    sent: set[str] = field(default_factory=set)
    seen: set[str] = field(default_factory=set)
    writing: int = 0
    cancelled: bool = False
    answering: bool = True
    error: str | None = None
    limit_until: float = 0.0
    result: "ResultMessage | None" = None
    over: asyncio.Event = field(default_factory=asyncio.Event)
    clock: asyncio.Timeout | None = None
    left: float | None = None

    @property
    def unseen(self) -> frozenset[str]:
        return frozenset(self.sent - self.seen)


class ClaudeSession:
    """A session of Claude Code.

    Args:
        options: returns the options for a start, given the id of the session to resume, or None.
        session_file: the file that keeps the session's id across restarts.
        commands: the control group of a turn's commands, if there is one.
        group: the control group of Claude Code and its MCP servers, if there is one.
        start_timeout: seconds that Claude Code has to start.

    Attributes:
        unread: The prompts that the model has not read, however their turns ended; whoever runs a
            turn empties it first.
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
        self._options = options
        self._session_file = session_file
        self._commands = commands
        self._group = group
        self._start_timeout = start_timeout
        self._client: ClaudeSDKClient | None = None
        self._run: _Run | None = None
        self._next = asyncio.Event()
        self.unread: frozenset[str] = frozenset()
        self.runs = 0

    @property
    def is_open(self) -> bool:
        """Whether a Claude Code process is running."""
        return self._client is not None

    @property
    def is_answering(self) -> bool:
        """Whether a turn or a compaction runs, which `cancel` would interrupt."""
        return self._run is not None

    @property
    def id(self) -> str | None:
        """The id of the session; None if there is none yet."""
        try:
            return self._session_file.read_text(encoding="utf-8").strip() or None
        except (OSError, ValueError):
            return None

    async def open(self) -> str | None:
        """Start Claude Code, unless it runs, and resume the session.

        Returns:
            Why the session could not be resumed, if a new one was begun in its place.

        Raises:
            TurnError: Claude Code does not start.
        """
        if self._client is not None:
            return None
        # In a thread: the event loop keeps answering systemd and the hive.
        await asyncio.to_thread(importlib.import_module, SDK)
        resume, lost = self.id, None
        try:
            self._client = await self._start(resume)
        except TurnError as exc:
            if not resume or _NO_SESSION not in str(exc):
                raise
            log.warning("the session %s cannot be resumed: %s", resume, exc)
            lost = "Claude Code has no record of it"
            self.forget()
            self._client = await self._start(None)
        return lost

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
        run = self._run = _Run()
        try:
            outcome = await self._ask(run, prompt, timeout, observe, verbatim=True)
        finally:
            self._run = None
            self.unread |= run.unseen
            run.over.set()
            self._kill_commands()
        result = outcome.result
        self._remember(result.session_id)
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
        run, client = self._run, self._client
        if run is None or client is None or not run.is_turn:
            return None
        if run.cancelled or run.over.is_set():
            return None
        number = str(uuid.uuid4())
        run.writing += 1  # the turn does not end meanwhile
        try:
            if interrupt:
                await self._interrupt(client)
                self._kill_commands()
            run.sent.add(number)
            await _write(client, prompt, number, verbatim=True)
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

    def _has_begun(self) -> None:
        self.runs += 1
        self._next.set()
        self._next = asyncio.Event()

    def pause_clock(self) -> bool:
        """Stop the clock of the turn's time limit; return whether a turn runs."""
        run = self._run
        if run is None or run.clock is None or run.clock.expired():
            return False
        if run.left is None and (when := run.clock.when()) is not None:
            run.left = when - asyncio.get_running_loop().time()
            run.clock.reschedule(None)
        return True

    def resume_clock(self) -> None:
        """Let the clock of the turn's time limit run again."""
        run = self._run
        if run is None or run.clock is None or run.left is None or run.over.is_set():
            return
        left, run.left = run.left, None
        run.clock.reschedule(asyncio.get_running_loop().time() + left)

    async def cancel(self) -> None:
        """Interrupt the running turn or compaction; kill Claude Code if it does not obey at once.

        Return when the turn is over.
        """
        run, client = self._run, self._client
        if run is None or client is None:
            return
        run.cancelled = True
        with suppress(TimeoutError):
            async with asyncio.timeout(CANCEL_TIMEOUT):
                if await self._interrupt(client):
                    self._kill_commands()
                    await run.over.wait()
        if not run.over.is_set():
            log.warning("Claude Code does not obey the interrupt: killing it")
            await self.kill()

    async def compact(self, observe: "Observer") -> Compaction:
        """Have Claude Code condense the session's context.

        Raises:
            TurnError: the context could not be compacted.
        """
        from claude_agent_sdk import SystemMessage

        found: list[JsonObject] = []

        def note(message: "Message") -> None:
            observe(message)
            if isinstance(message, SystemMessage) and message.subtype == "compact_boundary":
                found.append(message.data.get("compact_metadata") or {})

        run = self._run = _Run(is_turn=False)
        try:
            outcome = await self._ask(run, "/compact", COMPACT_TIMEOUT, note, verbatim=False)
        finally:
            self._run = None
            run.over.set()
        if not found:
            if outcome.result.is_error and not outcome.interrupted:
                raise failures.of_result(outcome.result, run.error, run.limit_until)
            reason = "it was cancelled" if outcome.interrupted else outcome.result.result
            raise TurnError(reason or "there was nothing to compact", Failure.REFUSED, alive=True)
        data = found[-1]
        return Compaction(int(data.get("pre_tokens") or 0), int(data.get("post_tokens") or 0))

    async def reconnect_tools(self) -> None:
        """Make Claude Code restart its relay to the hive, after the hive closed the connection."""
        if self._client is None:
            return
        try:
            async with asyncio.timeout(self._start_timeout):
                await self._client.reconnect_mcp_server(HIVE_SERVER)
        except Exception as exc:  # the SDK raises bare Exceptions for refused requests
            log.warning("Claude Code cannot reconnect to the hive's tools: %s", exc)

    def forget(self) -> None:
        """Forget the session: the next start begins a new one."""
        self._session_file.unlink(missing_ok=True)

    async def close(self) -> None:
        """End Claude Code and everything that it started; the session can be resumed."""
        client, self._client = self._client, None
        if client is None:
            return
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await client.disconnect()
        except Exception as exc:  # also bare Exceptions of the SDK
            log.warning("Claude Code did not end by itself: %s", exc or type(exc).__name__)
        finally:
            self._kill_group()

    async def kill(self) -> None:
        """Kill Claude Code and everything that it started; the session can be resumed."""
        self._kill_commands()
        self._kill_group()
        await self.close()

    async def _ask(
        self,
        run: _Run,
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

        client = self._client
        if client is None:
            raise TurnError("Claude Code is not running", Failure.CLAUDE)
        number = str(uuid.uuid4())
        run.sent.add(number)
        run.seen.add(number)

        def see(message: "Message") -> None:
            if isinstance(message, SystemMessage) and message.subtype == "init":
                self._remember(str(message.data.get("session_id") or ""))
            observe(message)

        try:
            async with asyncio.timeout(timeout) as run.clock:
                await _write(client, prompt, number, verbatim=verbatim)
                self._has_begun()
                await _read(client, run, see)
        except TimeoutError:
            run.clock = None
            alive = await self._cut_off(client, run, see)
            words = f"the turn took more than {timeout:g} s"
            raise TurnError(words, Failure.TIME, alive=alive) from None
        except asyncio.CancelledError:
            await self._interrupt(client)  # so that the session tells it
            await self.close()
            raise
        except (ClaudeSDKError, OSError) as exc:
            await self.close()
            if run.result is None:
                raise TurnError(f"Claude Code failed: {exc}", Failure.CLAUDE) from None
        if run.result is None:
            await self.close()
            raise TurnError("Claude Code ended in the middle of the turn", Failure.CLAUDE)
        if run.unseen:  # it must not begin with them by itself
            await self.kill()
        return Outcome(run.result, _aborted(run.result))

    async def _cut_off(self, client: "ClaudeSDKClient", run: _Run, observe: "Observer") -> bool:
        """Interrupt a turn that is over its limit; return whether Claude Code still runs."""
        run.cancelled = True
        try:
            if await self._interrupt(client):
                self._kill_commands()
                async with asyncio.timeout(INTERRUPT_TIMEOUT):
                    await _read(client, run, observe)
                if run.result is not None and not run.unseen:
                    return True
        except Exception as exc:  # also bare Exceptions of the SDK
            log.warning("Claude Code has not ended its turn: %s", exc or type(exc).__name__)
        await self.kill()
        return False

    async def _interrupt(self, client: "ClaudeSDKClient") -> bool:
        """Interrupt; return whether Claude Code has obeyed."""
        try:
            async with asyncio.timeout(INTERRUPT_TIMEOUT):
                await client.interrupt()
        except Exception as exc:  # also bare Exceptions of the SDK
            log.warning("Claude Code cannot be interrupted: %s", exc or type(exc).__name__)
            return False
        return True

    async def _start(self, resume: str | None) -> "ClaudeSDKClient":
        from claude_agent_sdk import ClaudeSDKClient

        loop = asyncio.get_running_loop()
        late = asyncio.Event()

        def give_up() -> None:
            late.set()
            self._kill_group()

        timer = loop.call_later(self._start_timeout, give_up)
        try:
            client = ClaudeSDKClient(self._options(resume))
            async with asyncio.timeout(self._start_timeout + KILL_GRACE):
                await client.connect()
        except asyncio.CancelledError:
            self._kill_group()
            raise
        except Exception as exc:  # also bare Exceptions of the SDK
            self._kill_group()
            if late.is_set() or _NO_ANSWER in str(exc):
                words = f"Claude Code did not start within {self._start_timeout:g} s"
            else:
                words = f"Claude Code does not start: {exc or type(exc).__name__}"
            raise TurnError(words, Failure.START) from None
        finally:
            timer.cancel()
        return client

    def _kill_commands(self) -> None:
        if self._commands and (left := self._commands.kill()):
            log.info("killed processes that the turn had left running: %d", left)

    def _kill_group(self) -> None:
        if self._group and (left := self._group.kill()):
            log.info("killed processes that Claude Code had left running: %d", left)

    def _remember(self, session: str) -> None:
        if session and session != self.id:
            try:
                self._session_file.write_text(session + "\n", encoding="utf-8")
            except OSError as exc:
                log.warning("cannot save the session's id: %s", exc)


async def _write(client: "ClaudeSDKClient", text: str, number: str, *, verbatim: bool) -> None:
    """Send a prompt.

    Args:
        client: the client.
        text: the text. Verbatim, no @path and no /command in it has an effect: others wrote it.
        number: the id of the prompt, by which results name it.
        verbatim: whether to send it verbatim.
    """

    async def messages() -> AsyncIterator[JsonObject]:
        yield {
            "type": "user",
            "message": {"role": "user", "content": text},
            "parent_tool_use_id": None,
            "uuid": number,
            **({"client_composed": True} if verbatim else {}),
        }

    await client.query(messages())


async def _read(client: "ClaudeSDKClient", run: _Run, observe: "Observer") -> None:
    """Read messages until the answer to all prompts of the turn has ended."""
    messages = aiter(client.receive_messages())
    while True:
        try:
            async with asyncio.timeout(None if run.answering else NEXT_RUN):
                message = await anext(messages)
        except StopAsyncIteration:
            return
        except TimeoutError:
            if run.answering:
                raise
            return  # a prompt was lost: it stays unseen
        observe(message)
        if _is_over(run, message):
            return


def _is_over(run: _Run, message: "Message") -> bool:
    """Take note of a message; return whether it ends the turn."""
    from claude_agent_sdk import AssistantMessage, RateLimitEvent, ResultMessage

    run.answering = True
    match message:
        case AssistantMessage():
            run.error = message.error
            if not message.error:  # the model answers: what was refused before is over
                run.limit_until = 0.0
            run.seen.update(message.user_message_uuids or ())
        case RateLimitEvent() if message.rate_limit_info.status == "rejected":
            run.limit_until = float(message.rate_limit_info.resets_at or 0)
        case ResultMessage():
            run.result = message
            run.seen.update(message.user_message_uuids or ())
            run.answering = False
            failed = message.is_error and not _aborted(message)
            return failed or run.cancelled or not (run.unseen or run.writing)
    return False


def _aborted(result: "ResultMessage") -> bool:
    return result.terminal_reason in _ABORTED
