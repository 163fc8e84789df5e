"""An MCP connection: reads requests, runs tools, and answers in the order in which they finish."""

import asyncio
import json
import logging
from dataclasses import dataclass, field
from typing import Final

from services.endpoint.clients.services import Services
from services.endpoint.commands import Commands
from services.endpoint.delivery.held_messages import Holder
from services.endpoint.delivery.inbox import Inbox
from services.endpoint.jsonvalues import JsonObject
from services.endpoint.mcp import jsonrpc
from services.endpoint.mcp.jsonrpc import (
    BatchError,
    Code,
    Notification,
    Request,
    RequestId,
    RpcError,
)
from services.endpoint.mcp.lines import (
    Budget,
    LineReader,
    LineWriter,
    OverloadError,
    RejectedLineError,
)
from services.endpoint.mcp.session import Session, ToolCall, complete, tool_error
from services.endpoint.reports import Reports
from services.endpoint.spans import CurrentSpan
from services.endpoint.tools.tool import Context, LongCall, ToolResult
from wire.errors import HiveError, Stopping, Unavailable

log = logging.getLogger(__name__)

MAX_IN_FLIGHT: Final = 16
"""Unanswered calls of one connection."""

MAX_LONG_CALLS: Final = {LongCall.MESSAGES: 5, LongCall.JOBS: 4}
"""Long calls of all connections together. An answer with messages can be large."""

MAX_INPUT: Final = 16 * 1024 * 1024
"""Bytes of unfinished lines and of calls in flight, all connections together."""


@dataclass
class Shared:
    """The state that all connections of the endpoint share."""

    agent: str
    services: Services
    inbox: Inbox
    reports: Reports
    commands: Commands
    span: CurrentSpan = field(default_factory=CurrentSpan)
    budget: Budget = field(default_factory=lambda: Budget(MAX_INPUT))
    long_calls: dict[LongCall, int] = field(
        default_factory=lambda: dict.fromkeys(MAX_LONG_CALLS, 0)
    )


class Connection:
    """A connection with a client, from its first byte to its last."""

    def __init__(
        self, shared: Shared, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._shared = shared
        self._lines = LineReader(reader, shared.budget)
        self._writer = LineWriter(writer)
        self._session = Session(shared.agent)
        self._holder = Holder()
        self._calls: dict[RequestId, asyncio.Task[None]] = {}
        self._long_calls: set[RequestId] = set()

    async def run(self) -> None:
        """Serve until the client closes, stops reading, or this is cancelled.

        Everything that the connection holds is released before this returns.
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
            self._shared.reports.forget(self._holder)
            self._shared.commands.disconnect(self._holder)
            self._shared.span.forget(self._holder)
            await self._shared.inbox.release_all(self._holder)
            await self._writer.close()

    async def _read(self) -> None:
        while True:
            try:
                line = await self._lines.line()
            except RejectedLineError as rejected:
                await self._answer_error(_refusal(rejected))
                continue
            if line is None:
                return
            charged = False
            try:
                charged = await self._handle(line)
            finally:
                self._shared.budget.release(0 if charged else len(line))

    async def _finish_calls(self) -> None:
        """Finish the calls of a client that has closed its side; cancel those that wait long."""
        for id in self._long_calls:
            self._calls[id].cancel()
        await asyncio.gather(*self._calls.values(), return_exceptions=True)

    async def _handle(self, line: bytes) -> bool:
        """Answer `line`, or start a call that does.

        Returns:
            True if a call was started; the call releases the line's bytes when it ends.
        """
        if not line.strip():
            return False
        request: Request | None = None
        try:
            message = jsonrpc.parse(line)
            if isinstance(message, Notification):
                self._notified(message)
            elif isinstance(message, Request):
                request = message
                return await self._serve(request, len(line))
        except RpcError as fault:
            if fault.id is None and request is not None:
                fault.id = request.id
            await self._answer_error(fault)
        except BatchError as batch:
            for refused in batch.faults:
                await self._answer_error(refused)
        except OSError:
            raise
        except Exception:
            log.exception("A request failed.")
            await self._answer_error(
                jsonrpc.refusal(Code.INTERNAL_ERROR, _BUG, line)
                if request is None
                else RpcError(Code.INTERNAL_ERROR, _BUG, id=request.id)
            )
        return False

    async def _serve(self, request: Request, size: int) -> bool:
        answer = self._session.answer(request)
        if not isinstance(answer, ToolCall):
            await self._writer.write(jsonrpc.result(request.id, answer))
            if request.method == "initialize" and self._session.is_harness:
                self._shared.commands.connect(self._holder, self._writer.write)
            return False
        self._admit(request, answer)
        id = request.id
        call = asyncio.get_running_loop().create_task(self._run(id, answer))
        self._calls[id] = call
        # Not in the task itself: a task that is cancelled before its first step never runs.
        call.add_done_callback(lambda _: self._forget(id, answer.tool.long_call, size))
        return True

    def _admit(self, request: Request, call: ToolCall) -> None:
        """Count a call.

        Raises:
            RpcError: the id is in use, or there are too many calls.
        """
        if request.id in self._calls:
            raise RpcError(Code.INVALID_REQUEST, "A call with this id is still being answered.")
        if len(self._calls) >= MAX_IN_FLIGHT:
            raise RpcError(
                Code.BUSY, f"{MAX_IN_FLIGHT} calls are unanswered: wait until one of them ends."
            )
        kind = call.tool.long_call
        if kind is LongCall.NONE:
            return
        if self._shared.long_calls[kind] >= MAX_LONG_CALLS[kind]:
            raise RpcError(
                Code.BUSY,
                f"{MAX_LONG_CALLS[kind]} calls like {call.tool.name} are already waiting:"
                " wait until one of them ends.",
            )
        self._shared.long_calls[kind] += 1
        self._long_calls.add(request.id)

    async def _run(self, id: RequestId, call: ToolCall) -> None:
        """Run a tool and answer the request; a call that the client cancels is not answered."""
        result = ToolResult({})
        try:
            try:
                result = await self._result(call)
                line = jsonrpc.result(id, complete(_structured(result.value), call.envelope))
            except HiveError as error:
                line = jsonrpc.result(id, complete(tool_error(_advise(error)), call.envelope))
            except ValueError:  # JSON cannot carry the result
                log.exception("The result of the tool %s cannot be sent.", call.tool.name)
                line = jsonrpc.result(id, complete(tool_error(_BUG), call.envelope))
            await self._writer.write(line)
            self._shared.inbox.leases.deliver(result.leased)
            result = ToolResult({})
        except OSError:
            self._writer.abort()  # so that reading ends too
        finally:
            await self._shared.inbox.release(result.leased)

    async def _result(self, call: ToolCall) -> ToolResult:
        shared = self._shared
        context = Context(
            shared.services,
            shared.inbox,
            shared.reports,
            shared.span,
            self._holder,
            call.audience,
            shared.agent,
        )
        try:
            return await call.tool.run(context, call.arguments)
        except HiveError:
            raise
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Something that the tool waits for was cancelled, and not the call itself.
            log.exception("The tool %s was cancelled from inside.", call.tool.name)
            raise Unavailable("The hive ended this call.") from None
        except Exception:
            log.exception("The tool %s failed.", call.tool.name)
            raise HiveError(_BUG) from None

    def _forget(self, id: RequestId, kind: LongCall, size: int) -> None:
        self._shared.budget.release(size)
        del self._calls[id]
        if id in self._long_calls:
            self._long_calls.remove(id)
            self._shared.long_calls[kind] -= 1

    def _notified(self, notification: Notification) -> None:
        """Cancel the call that `notification` cancels; ignore all other notifications."""
        if notification.method != "notifications/cancelled":
            return
        id = notification.params.get("requestId")
        if isinstance(id, int | str) and not isinstance(id, bool) and id in self._calls:
            self._calls[id].cancel()

    async def _answer_error(self, fault: RpcError) -> None:
        if fault.tool_call and fault.id is not None:
            # The model reads a tool's result, and can call again with other arguments.
            answer = complete(
                tool_error(f"The tool was not called. {fault}"), self._session.envelope
            )
            await self._writer.write(jsonrpc.result(fault.id, answer))
            return
        await self._writer.write(jsonrpc.error(fault))


def _refusal(rejected: RejectedLineError) -> RpcError:
    if isinstance(rejected, OverloadError):
        return jsonrpc.refusal(Code.BUSY, _OVERLOAD, rejected.head, rejected.tail)
    return jsonrpc.refusal(Code.INVALID_REQUEST, _TOO_LONG, rejected.head, rejected.tail)


_BUG: Final = "This is a bug of the hive; its journal has the details."

_TOO_LONG: Final = (
    "This line is too long: the body of a message may have 1 MiB. The rest of the line is ignored."
)
_OVERLOAD: Final = (
    "All connections of this agent together hold too much unfinished input. Your last"
    " input is ignored: send it again when other calls have ended."
)


def _structured(value: JsonObject) -> JsonObject:
    # The text is JSON too: in a looser form, the body of a message could look like another message.
    text = json.dumps(value, ensure_ascii=False)
    return {"content": [{"type": "text", "text": text}], "structuredContent": value}


def _advise(error: HiveError) -> str:
    """Return the sentence of `error`, and add what to do if it does not say so."""
    text = str(error) or type(error).__name__
    if isinstance(error, Stopping):
        return f"{text} This part of the hive is restarting: try again in a moment."
    if isinstance(error, Unavailable):
        return f"{text} If the error persists, end your turn and say what you could not do."
    return text
