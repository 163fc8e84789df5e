"""Claude Code, kept alive between turns and resumed after it was closed."""

import asyncio
import importlib
import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.group import Group

if TYPE_CHECKING:
    from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, Message, ResultMessage

log = logging.getLogger(__name__)

START: Final = 60.0
GRACE: Final = 3.0
"""Seconds that Claude Code gets to obey an interrupt, and to end."""

SERVER: Final = "hive"

AWAY: Final = frozenset({"authentication_failed", "billing_error", "rate_limit", "server_error"})
"""Errors of the model's API that have nothing to do with what was asked of it."""

LOGIN: Final = "authentication_failed"

SDK: Final = "claude_agent_sdk"
"""Loaded for the first turn: it takes a second of processor time, and 40 MB, which an agent that
has nothing to do goes without.
"""


class TurnError(Exception):
    """A turn came to no good end.

    `by_model` tells that the model cannot be had now (an outage, a limit, bad credentials): the
    same turn may well succeed later. Otherwise Claude Code itself failed, took too long, or was
    told that its request is wrong. `login` says that the credentials are no good.
    """

    def __init__(self, reason: str, *, by_model: bool = False, login: bool = False) -> None:
        super().__init__(reason)
        self.by_model = by_model
        self.login = login


class Claude:
    """One Claude Code session.

    Args:
        options: makes the options for a start; given the id of the session to resume, or None.
        memory: the file that remembers the session's id over restarts.
        group: what the commands of a turn run in, if groups can be made.
    """

    def __init__(
        self,
        options: "Callable[[str | None], ClaudeAgentOptions]",
        memory: Path,
        group: Group | None = None,
    ) -> None:
        self._options = options
        self._memory = memory
        self._group = group
        self._client: ClaudeSDKClient | None = None

    @property
    def is_open(self) -> bool:
        """Whether a Claude Code process is kept alive."""
        return self._client is not None

    async def turn(
        self, prompt: str, limit: float, seen: "Callable[[Message], None]"
    ) -> "ResultMessage":
        """Runs one turn; `seen` gets every message of it. When it is cancelled, or takes more than
        `limit` seconds, Claude Code is interrupted and closed. However it ends, what its commands
        have left running is killed.

        Raises:
            TurnError
        """
        try:
            return await self._turn(prompt, limit, seen)
        finally:
            if self._group:
                self._group.end()

    async def _turn(
        self, prompt: str, limit: float, seen: "Callable[[Message], None]"
    ) -> "ResultMessage":
        # In a thread: meanwhile systemd and the hive are answered.
        await asyncio.to_thread(importlib.import_module, SDK)
        from claude_agent_sdk import AssistantMessage, ClaudeSDKError, ResultMessage

        result: ResultMessage | None = None
        error: str | None = None
        try:
            async with asyncio.timeout(limit):
                client = self._client or await self._open()
                await client.query(prompt)
                async for message in client.receive_response():
                    seen(message)
                    if isinstance(message, AssistantMessage):
                        error = message.error or error
                    if isinstance(message, ResultMessage):
                        result = message
        except TimeoutError:
            await self.abort()
            raise TurnError(f"the turn took more than {limit:.0f} s") from None
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
        """Makes Claude Code start its relay to the hive again, after the host hung up on it."""
        if self._client is None:
            return
        try:
            async with asyncio.timeout(START):
                await self._client.reconnect_mcp_server(SERVER)
        except Exception as exc:  # the SDK raises bare Exceptions for refused requests
            log.warning("Claude Code cannot reach the hive's tools again: %s", exc)

    def forget(self) -> None:
        """The next start begins a new session."""
        self._memory.unlink(missing_ok=True)

    async def abort(self) -> None:
        """Interrupts what is running, then closes."""
        if self._client is not None:
            with suppress(Exception):  # it is closed right afterwards, whatever it says
                async with asyncio.timeout(GRACE):
                    await self._client.interrupt()
        await self.close()

    async def close(self) -> None:
        """Ends the Claude Code process; the session can be resumed."""
        client, self._client = self._client, None
        if client is None:
            return
        from claude_agent_sdk import ClaudeSDKError

        try:
            async with asyncio.timeout(GRACE * 3):
                await client.disconnect()
        except (ClaudeSDKError, OSError, TimeoutError) as exc:
            log.warning("Claude Code did not end by itself: %s", exc)

    async def _open(self) -> "ClaudeSDKClient":
        from claude_agent_sdk import ClaudeSDKClient

        client = ClaudeSDKClient(self._options(self._remembered()))
        async with asyncio.timeout(START):
            await client.connect()
        self._client = client
        return client

    def _remembered(self) -> str | None:
        try:
            return self._memory.read_text(encoding="utf-8").strip() or None
        except OSError:
            return None

    def _remember(self, session: str) -> None:
        if session and session != self._remembered():
            try:
                self._memory.write_text(session + "\n", encoding="utf-8")
            except OSError as exc:
                log.warning("cannot note the session: %s", exc)


def _failure(result: "ResultMessage", error: str | None) -> TurnError:
    """What the end of a turn means; `error` is the kind that the last answer named, if any."""
    status = result.api_error_status or 0
    login = error == LOGIN or status in (401, 403)
    away = login or error in AWAY or status in (408, 429) or status >= 500
    reason = result.result or "; ".join(result.errors or []) or result.subtype
    return TurnError(reason, by_model=away, login=login)
