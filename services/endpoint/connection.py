"""One MCP connection: reads requests, runs tools, answers in whatever order they finish."""

import asyncio
import json
import logging
from dataclasses import dataclass, field
from typing import Any, Final

from services.endpoint import rpc
from services.endpoint.hive import Hive
from services.endpoint.inbox import Inbox
from services.endpoint.leases import Scope
from services.endpoint.lines import Budget, LineReader, LineWriter, OverloadError, TooLongError
from services.endpoint.reports import Reports
from services.endpoint.rpc import Code, Notification, Request, RequestId, RpcError
from services.endpoint.session import Session, ToolCall, complete, tool_error
from services.endpoint.tool import Context, Outcome, Patience
from wire.errors import HiveError, Stopping, Unavailable

log = logging.getLogger(__name__)

MAX_IN_FLIGHT: Final = 16
"""Calls of one connection that may be unanswered."""

MAX_PATIENT: Final = {Patience.MESSAGES: 4, Patience.JOBS: 4}
"""Calls in the whole endpoint that may wait long. An answer with messages can be large."""

MAX_INPUT: Final = 16 * 1024 * 1024
"""Bytes of half lines and of calls in flight, all connections together."""


@dataclass
class Shared:
    """What all connections of the endpoint have in common."""

    agent: str
    hive: Hive
    inbox: Inbox
    reports: Reports
    budget: Budget = field(default_factory=lambda: Budget(MAX_INPUT))
    patient: dict[Patience, int] = field(default_factory=lambda: dict.fromkeys(MAX_PATIENT, 0))


class Connection:
    """A connection, from its first byte to its last."""

    def __init__(
        self, shared: Shared, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._shared = shared
        self._lines = LineReader(reader, shared.budget)
        self._writer = LineWriter(writer)
        self._session = Session(shared.agent)
        self._scope = Scope()
        self._calls: dict[RequestId, asyncio.Task[None]] = {}
        self._patient: set[RequestId] = set()

    async def run(self) -> None:
        """Serve until the client closes, misbehaves beyond repair, or this is cancelled.

        Whatever it still holds is released before this returns.
        """
        try:
            await self._read()
            await self._finish_calls()
        except OSError as error:
            log.info("A connection ended: %s", error or type(error).__name__)
        finally:
            for call in self._calls.values():
                call.cancel()
            await asyncio.gather(*self._calls.values(), return_exceptions=True)
            self._lines.close()
            self._shared.reports.leave(self._scope)
            await self._shared.inbox.leave(self._scope)
            await self._writer.close()

    async def _read(self) -> None:
        while True:
            try:
                line = await self._lines.line()
            except TooLongError:
                await self._fail(RpcError(Code.INVALID_REQUEST, _TOO_LONG))
                continue
            except OverloadError:
                await self._fail(RpcError(Code.BUSY, _OVERLOAD))
                continue
            if line is None:
                return
            charged = await self._handle(line)
            self._shared.budget.give(0 if charged else len(line))

    async def _finish_calls(self) -> None:
        """The client has said all it had to say. What it asked for is done, but not waited for."""
        for id in self._patient:
            self._calls[id].cancel()
        await asyncio.gather(*self._calls.values(), return_exceptions=True)

    async def _handle(self, line: bytes) -> bool:
        """Answer `line`, or begin to; True when a call goes on and has taken over its charge."""
        if not line.strip():
            return False
        request: Request | None = None
        try:
            message = rpc.parse(line)
            if isinstance(message, Notification):
                self._notice(message)
            elif isinstance(message, Request):
                request = message
                return await self._serve(request, len(line))
        except RpcError as fault:
            if fault.id is None and request is not None:
                fault.id = request.id
            await self._fail(fault)
        return False

    async def _serve(self, request: Request, size: int) -> bool:
        answer = self._session.answer(request)
        if not isinstance(answer, ToolCall):
            await self._writer.write(rpc.result(request.id, answer))
            return False
        self._admit(request, answer)
        id = request.id
        call = asyncio.get_running_loop().create_task(self._run(id, answer))
        self._calls[id] = call
        # Not in the task itself: one that is cancelled before its first step never runs.
        call.add_done_callback(lambda _: self._forget(id, answer.tool.patience, size))
        return True

    def _admit(self, request: Request, call: ToolCall) -> None:
        """Raise RpcError when there are too many calls already; else count this one."""
        if request.id in self._calls:
            raise RpcError(Code.INVALID_REQUEST, "A call with this id is still being answered.")
        if len(self._calls) >= MAX_IN_FLIGHT:
            raise RpcError(
                Code.BUSY, f"{MAX_IN_FLIGHT} calls are unanswered: wait for one of them first."
            )
        patience = call.tool.patience
        if patience is Patience.NONE:
            return
        if self._shared.patient[patience] >= MAX_PATIENT[patience]:
            raise RpcError(
                Code.BUSY,
                f"{MAX_PATIENT[patience]} calls like {call.tool.name} are waiting already:"
                " let one of them end first.",
            )
        self._shared.patient[patience] += 1
        self._patient.add(request.id)

    async def _run(self, id: RequestId, call: ToolCall) -> None:
        """Run a tool and answer; nobody is answered when this is cancelled."""
        outcome = Outcome({})
        try:
            try:
                outcome = await self._outcome(call)
                result = _tool_result(outcome.value)
            except HiveError as error:
                result = tool_error(_advise(error))
            await self._writer.write(rpc.result(id, complete(result, call.envelope)))
            self._shared.inbox.leases.hand(outcome.leased)
            outcome = Outcome({})
        except OSError:
            self._writer.abort()  # so that the reading ends too
        finally:
            await self._shared.inbox.release(outcome.leased)

    async def _outcome(self, call: ToolCall) -> Outcome:
        shared = self._shared
        context = Context(
            shared.hive, shared.inbox, shared.reports, self._scope, call.audience, shared.agent
        )
        try:
            return await call.tool.run(context, call.arguments)
        except HiveError:
            raise
        except Exception:
            log.exception("The tool %s failed.", call.tool.name)
            raise HiveError("This is a bug of the hive; its journal has the details.") from None

    def _forget(self, id: RequestId, patience: Patience, size: int) -> None:
        self._shared.budget.give(size)
        del self._calls[id]
        if id in self._patient:
            self._patient.remove(id)
            self._shared.patient[patience] -= 1

    def _notice(self, notification: Notification) -> None:
        """Cancel what is to be cancelled; all other notifications change nothing here."""
        if notification.method != "notifications/cancelled":
            return
        id = notification.params.get("requestId")
        if isinstance(id, int | str) and not isinstance(id, bool) and id in self._calls:
            self._calls[id].cancel()

    async def _fail(self, fault: RpcError) -> None:
        await self._writer.write(rpc.error(fault))


_TOO_LONG: Final = (
    "This line is too long: the body of a message may have 1 MiB. The rest of it is ignored."
)
_OVERLOAD: Final = (
    "All connections of this agent together hold too much unfinished input. What was"
    " sent here last is ignored: send it again when other calls have ended."
)


def _tool_result(value: dict[str, Any]) -> dict[str, Any]:
    # The text is JSON too: in a looser form, the body of one message could look like another one.
    text = json.dumps(value, ensure_ascii=False)
    return {"content": [{"type": "text", "text": text}], "structuredContent": value}


def _advise(error: HiveError) -> str:
    """The sentence of `error`, and what to do when it says nothing about that."""
    text = str(error) or type(error).__name__
    if isinstance(error, Stopping):
        return f"{text} This part of the hive is restarting: try again in a moment."
    if isinstance(error, Unavailable):
        return f"{text} If it stays so, end your turn and say what you could not do."
    return text
