"""The process of Claude Code: its start, its end, and everything that it has started."""

import asyncio
import importlib
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from harness.claude.cgroup import Cgroup
from harness.claude.failures import Failure, TurnError

if TYPE_CHECKING:
    from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient

log = logging.getLogger(__name__)

INTERRUPT_TIMEOUT: Final = 5.0
"""Seconds that Claude Code has to obey an interrupt."""

CLOSE_TIMEOUT: Final = 12.0
"""Seconds that Claude Code has to end."""

KILL_GRACE: Final = 15.0
"""Seconds that the SDK has to notice the end of a Claude Code that was killed while it started."""

HIVE_SERVER: Final = "hive"
"""The name of the MCP server that is the hive."""

SDK: Final = "claude_agent_sdk"
"""Loaded for the first turn: it needs a second of processor time and 40 MB, which an idle agent
saves.
"""

_NO_ANSWER: Final = "Control request timeout"
"""The SDK's words when Claude Code has started and does not answer."""


class ClaudeProcess:
    """Claude Code, while it runs.

    Args:
        options: returns the options for a start, given the id of the session to resume, or None.
        commands: the control group of a turn's commands, if there is one.
        group: the control group of Claude Code and its MCP servers, if there is one.
        start_timeout: seconds that Claude Code has to start.

    Attributes:
        client: The SDK's client of the process; None while none runs.
    """

    def __init__(
        self,
        options: "Callable[[str | None], ClaudeAgentOptions]",
        commands: Cgroup | None,
        group: Cgroup | None,
        start_timeout: float,
    ) -> None:
        self._options = options
        self._commands = commands
        self._group = group
        self._start_timeout = start_timeout
        self.client: ClaudeSDKClient | None = None

    async def start(self, resume: str | None) -> None:
        """Start Claude Code.

        Args:
            resume: the id of the session to resume; None begins a new one.

        Raises:
            TurnError: Claude Code does not start.
        """
        # In a thread: the event loop keeps answering systemd and the hive.
        await asyncio.to_thread(importlib.import_module, SDK)
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
        self.client = client

    async def close(self) -> None:
        """End Claude Code and everything that it started."""
        client, self.client = self.client, None
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
        """Kill Claude Code and everything that it started."""
        self.kill_commands()
        self._kill_group()
        await self.close()

    def kill_commands(self) -> None:
        """Kill the processes that the commands of a turn have left."""
        if self._commands and (left := self._commands.kill()):
            log.info("killed processes that the turn had left running: %d", left)

    async def reconnect_tools(self) -> None:
        """Make Claude Code restart its relay to the hive, after the hive closed the connection."""
        if self.client is None:
            return
        try:
            async with asyncio.timeout(self._start_timeout):
                await self.client.reconnect_mcp_server(HIVE_SERVER)
        except Exception as exc:  # the SDK raises bare Exceptions for refused requests
            log.warning("Claude Code cannot reconnect to the hive's tools: %s", exc)

    def _kill_group(self) -> None:
        if self._group and (left := self._group.kill()):
            log.info("killed processes that Claude Code had left running: %d", left)


async def interrupt(client: "ClaudeSDKClient") -> bool:
    """Interrupt Claude Code; return whether it has obeyed."""
    try:
        async with asyncio.timeout(INTERRUPT_TIMEOUT):
            await client.interrupt()
    except Exception as exc:  # also bare Exceptions of the SDK
        log.warning("Claude Code cannot be interrupted: %s", exc or type(exc).__name__)
        return False
    return True
