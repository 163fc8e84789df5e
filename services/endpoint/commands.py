"""The operator's commands to the harness: forwarded to its connection, or refused without one."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from services.endpoint.delivery.held_messages import Holder
from services.endpoint.mcp import jsonrpc
from services.tasks import Tasks
from wire.errors import HiveError
from wire.records.lifecycle import CommandIssued, CommandResult

log = logging.getLogger(__name__)

METHOD: Final = "notifications/hyperhive/command"

Write = Callable[[bytes], Awaitable[None]]
"""Writes a line to one connection."""


class Lifecycle(Protocol):
    """The calls of lifecycle that commands need."""

    async def harness_connected(self, connected: bool) -> None:
        """Say whether the harness of this agent is connected."""

    async def command_done(self, id: int, result: CommandResult) -> None:
        """Hand over the result of a command."""


class Commands:
    """The connections of the harness, and the commands to it.

    An agent has one harness. If several connections call themselves the harness, all of them get
    each command, and lifecycle takes the first answer: they are programs of the same container.
    """

    def __init__(self, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle
        self._harnesses: dict[Holder, Write] = {}
        self._changed = asyncio.Event()
        self._told: bool | None = None
        """The last word to lifecycle; None if it has to be told again."""
        self._tasks = Tasks()

    def start(self) -> None:
        """Begin to tell lifecycle whether the harness is connected; once commands are received."""
        self._changed.set()
        self._tasks.start_detached(self._tell(), "tell-lifecycle")

    async def close(self) -> None:
        """End all tasks. Lifecycle notices that this endpoint leaves the bus."""
        await self._tasks.cancel()

    def connect(self, holder: Holder, write: Write) -> None:
        """Note that a harness is connected; `write` sends it a line."""
        self._harnesses[holder] = write
        self._changed.set()

    def disconnect(self, holder: Holder) -> None:
        """Note that a connection has ended, of the harness or of another client."""
        if self._harnesses.pop(holder, None) is not None and not self._harnesses:
            self.repeat()  # the next one is another harness, even if it comes at once

    def repeat(self) -> None:
        """Tell lifecycle, soon, whether the harness is connected; a new lifecycle does not know."""
        self._told = None
        self._changed.set()

    def issued(self, command: CommandIssued) -> None:
        """Forward a command of lifecycle."""
        if not self._harnesses:
            result = CommandResult(error="The harness is not connected to its endpoint.")
            self._tasks.start_detached(self._answer(command.id, result), "answer-command")
            return
        line = jsonrpc.notification(
            METHOD,
            {
                "id": command.id,
                "verb": command.verb.value,
                "requeue": command.arguments.requeue,
                "value": command.arguments.value,
                "login": command.arguments.login,
                "by": command.arguments.by,
            },
        )
        for write in self._harnesses.values():
            self._tasks.start_detached(_send(write, line), "forward-command")

    async def _tell(self) -> None:
        """Tell lifecycle of each change. While lifecycle is away, its return is waited for."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            connected = bool(self._harnesses)
            if connected is self._told:
                continue
            self._told = connected
            try:
                await self._lifecycle.harness_connected(connected)
            except HiveError as error:
                self._told = None
                log.info("Lifecycle was not told whether the harness is connected: %s", error)

    async def _answer(self, id: int, result: CommandResult) -> None:
        try:
            await self._lifecycle.command_done(id, result)
        except HiveError as error:
            log.info("Lifecycle did not take the answer to a command: %s", error)


async def _send(write: Write, line: bytes) -> None:
    with contextlib.suppress(OSError):  # the end of the connection is reported by its reader
        await write(line)
