"""Claude Code, kept alive between turns and resumed after it was closed."""

import asyncio
import importlib
import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.claude.cgroup import TurnCgroup

if TYPE_CHECKING:
    from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, Message, ResultMessage

log = logging.getLogger(__name__)

START_TIMEOUT: Final = 60.0
INTERRUPT_TIMEOUT: Final = 3.0
"""Seconds that Claude Code has to obey an interrupt."""

CLOSE_TIMEOUT: Final = 9.0
"""Seconds that Claude Code has to end."""

HIVE_SERVER: Final = "hive"
"""The name of the MCP server that is the hive."""

OUTAGES: Final = frozenset({"authentication_failed", "billing_error", "rate_limit", "server_error"})
"""Errors of the model's API that do not depend on the request."""

LOGIN_ERROR: Final = "authentication_failed"

SDK: Final = "claude_agent_sdk"
"""Loaded for the first turn: it needs a second of processor time and 40 MB, which an idle agent
saves.
"""


class TurnError(Exception):
    """A turn failed.

    Attributes:
        outage: The model is not available now (an outage, a limit, invalid credentials), and the
            same turn may succeed later. Otherwise Claude Code itself failed, took too long, or
            the API refused the request as invalid.
        login: The credentials are invalid.
    """

    def __init__(self, reason: str, *, outage: bool = False, login: bool = False) -> None:
        super().__init__(reason)
        self.outage = outage
        self.login = login


class ClaudeSession:
    """A session of Claude Code.

    Args:
        options: returns the options for a start, given the id of the session to resume, or None.
        session_file: the file that keeps the session's id across restarts.
        cgroup: the control group of a turn's commands, if there is one.
    """

    def __init__(
        self,
        options: "Callable[[str | None], ClaudeAgentOptions]",
        session_file: Path,
        cgroup: TurnCgroup | None = None,
    ) -> None:
        self._options = options
        self._session_file = session_file
        self._cgroup = cgroup
        self._client: ClaudeSDKClient | None = None

    @property
    def is_open(self) -> bool:
        """Whether a Claude Code process is running."""
        return self._client is not None

    async def turn(
        self, prompt: str, timeout: float, observe: "Callable[[Message], None]"
    ) -> "ResultMessage":
        """Run one turn, and kill the processes that its commands have left running.

        When the turn is cancelled or takes too long, Claude Code is interrupted and closed.

        Args:
            prompt: the prompt of the turn.
            timeout: seconds that the turn may take.
            observe: called with every message of the turn.

        Raises:
            TurnError: the turn failed.
        """
        try:
            return await self._turn(prompt, timeout, observe)
        finally:
            if self._cgroup:
                self._cgroup.kill()

    async def _turn(
        self, prompt: str, timeout: float, observe: "Callable[[Message], None]"
    ) -> "ResultMessage":
        # In a thread: the event loop keeps answering systemd and the hive.
        await asyncio.to_thread(importlib.import_module, SDK)
        from claude_agent_sdk import AssistantMessage, ClaudeSDKError, ResultMessage

        result: ResultMessage | None = None
        error: str | None = None
        try:
            async with asyncio.timeout(timeout):
                client = self._client or await self._open()
                await client.query(prompt)
                async for message in client.receive_response():
                    observe(message)
                    if isinstance(message, AssistantMessage):
                        error = message.error or error
                    if isinstance(message, ResultMessage):
                        result = message
        except TimeoutError:
            await self.abort()
            raise TurnError(f"the turn took more than {timeout:.0f} s") from None
        except asyncio.CancelledError:
            await self.abort()
            raise
        except (ClaudeSDKError, OSError) as exc:
            await self.close()
            if result is None:
                raise TurnError(f"Claude Code failed: {exc}") from None
        if result is None:
            await self.close()
            raise TurnError("Claude Code ended in the middle of the turn")
        self._remember(result.session_id)
        if result.is_error:
            raise _failure(result, error)
        return result

    async def reconnect_tools(self) -> None:
        """Make Claude Code restart its relay to the hive, after the hive closed the connection."""
        if self._client is None:
            return
        try:
            async with asyncio.timeout(START_TIMEOUT):
                await self._client.reconnect_mcp_server(HIVE_SERVER)
        except Exception as exc:  # the SDK raises bare Exceptions for refused requests
            log.warning("Claude Code cannot reconnect to the hive's tools: %s", exc)

    def forget(self) -> None:
        """Forget the session: the next start begins a new one."""
        self._session_file.unlink(missing_ok=True)

    async def abort(self) -> None:
        """Interrupt the running turn, then close."""
        if self._client is not None:
            with suppress(Exception):  # it is closed right afterwards in any case
                async with asyncio.timeout(INTERRUPT_TIMEOUT):
                    await self._client.interrupt()
        await self.close()

    async def close(self) -> None:
        """End the Claude Code process; the session can be resumed."""
        client, self._client = self._client, None
        if client is None:
            return
        from claude_agent_sdk import ClaudeSDKError

        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await client.disconnect()
        except (ClaudeSDKError, OSError, TimeoutError) as exc:
            log.warning("Claude Code did not end by itself: %s", exc)

    async def _open(self) -> "ClaudeSDKClient":
        from claude_agent_sdk import ClaudeSDKClient

        client = ClaudeSDKClient(self._options(self._remembered()))
        async with asyncio.timeout(START_TIMEOUT):
            await client.connect()
        self._client = client
        return client

    def _remembered(self) -> str | None:
        try:
            return self._session_file.read_text(encoding="utf-8").strip() or None
        except OSError:
            return None

    def _remember(self, session: str) -> None:
        if session and session != self._remembered():
            try:
                self._session_file.write_text(session + "\n", encoding="utf-8")
            except OSError as exc:
                log.warning("cannot save the session's id: %s", exc)


def _failure(result: "ResultMessage", error: str | None) -> TurnError:
    """Return the error for a failed turn; `error` is the kind in the last answer, if any."""
    status = result.api_error_status or 0
    login = error == LOGIN_ERROR or status in (401, 403)
    outage = login or error in OUTAGES or status in (408, 429) or status >= 500
    reason = result.result or "; ".join(result.errors or []) or result.subtype
    return TurnError(reason, outage=outage, login=login)
