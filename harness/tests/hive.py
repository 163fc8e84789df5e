"""A fake hive: the tools of MCP on a unix socket, with real leases."""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from itertools import count
from pathlib import Path
from typing import Any

from harness.events import recorder
from harness.hive_client import Report

ANY = {"type": "object"}


def _takes(*names: str) -> dict[str, Any]:
    return {"type": "object", "properties": {name: {} for name in names}}


OWN = {
    "recv": _takes("wait_seconds", "max", "urgent_only"),
    "ack": _takes("ids", "cancelled"),
    "release": _takes("ids", "reason", "uncounted"),
    "report": _takes(*(field.name for field in fields(Report))),
    "get_open_threads": _takes("limit"),
    "record_turn": _takes(*recorder.arguments({"id": 1, **dict.fromkeys(recorder.NUMBERS, 1)})),
    "command_done": _takes("id", "text", "error", "login", "address"),
    "describe": _takes(),
    "trace": _takes("traceparent"),
    "record_spans": _takes("spans"),
    "ask_permission": _takes("call", "question", "options", "multi", "rule", "ttl_seconds"),
    "cancel_permission": _takes("id"),
}
"""The tools of the harness, with the arguments that the endpoint takes."""


class Hive:
    """The inbox of one agent, and a record of the calls."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.calls: list[tuple[str, str, dict[str, Any]]] = []
        self.queued: list[dict[str, Any]] = []
        self.acknowledged: list[int] = []
        self.cancelled: list[int] = []
        self.reasons: list[str] = []
        self.answers: dict[int, dict[str, Any]] = {}
        self.sent: list[dict[str, Any]] = []
        self.questions: list[dict[str, Any]] = []
        self.greeted: list[str] = []
        self.open = {"question": 2, "message": 1, "reminder": 3}
        self.recorded: list[dict[str, Any]] = []
        self.spans: list[dict[str, Any]] = []
        self.sent_in: list[str] = []
        self.traceparent = ""
        self.rude = False
        self.most = 1000
        """The redeliveries of a message until it is a dead letter."""
        self.refuse: dict[str, str] = {}
        self._changed = asyncio.Condition()
        self._ids = count(1)
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self.path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(
            self._accept, str(self.path), limit=16 * 1024 * 1024
        )

    async def stop(self) -> None:
        """Close all connections, as a restart of the hive does."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in list(self._connections):
            connection.task.cancel()
        if self._connections:
            await asyncio.wait({c.task for c in self._connections})

    async def push(self, body: str, sender: str = "operator", **more: Any) -> int:
        number = next(self._ids)
        message = {
            "id": number,
            "from": sender,
            "to": "bob",
            "kind": "message",
            "body": body,
            "queued": 1_700_000_000,
            "redeliveries": 0,
            "urgent": False,
            "in_reply_to": None,
        }
        self.queued.append({**message, **more})
        await self.notify()
        return number

    async def command(self, verb: str, limit: float = 10.0, **more: Any) -> dict[str, Any]:
        """Send a command to the harness; return its answer."""
        number = next(self._ids)
        await self.until(lambda: self.called("report") > 0)
        [harness] = [c for c in self._connections if c.client == "hyperhive-harness"]
        harness.notify("notifications/hyperhive/command", {"id": number, "verb": verb, **more})
        await self.until(lambda: number in self.answers, limit)
        return self.answers[number]

    @property
    def open_questions(self) -> list[int]:
        return [number for number, q in enumerate(self.questions) if q["open"]]

    async def answer(self, question: int, *given: str, end: str = "answered by operator.") -> int:
        """Answer a question about a tool call, as the broker does."""
        asked = self.questions[question]
        assert asked["open"]
        asked["open"] = False
        head = f"Your request {question} for a permission was {end}"
        rule = json.dumps(asked.get("rule", ""))
        body = f"{head}\nCall: {asked['call']}\nRule: {rule}\nAnswer: {json.dumps(given)}\n"
        words = f"{body}\nYou asked:\n{asked['question']}"
        return await self.push(words, "system", kind="permission-answered", urgent=True)

    async def until(self, condition: Callable[[], bool], limit: float = 60.0) -> None:
        """Wait for an event of this fake after which `condition` holds."""
        async with asyncio.timeout(limit), self._changed:
            await self._changed.wait_for(condition)

    async def notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    @property
    def reports(self) -> list[dict[str, Any]]:
        """The state that was known after each report."""
        known: dict[str, Any] = {}
        merged = []
        for _, tool, arguments in self.calls:
            if tool == "report":
                known = known | arguments
                merged.append(known)
        return merged

    @property
    def state(self) -> str | None:
        return self.reports[-1].get("turn_state") if self.reports else None

    def called(self, tool: str) -> int:
        return sum(name == tool for _, name, _ in self.calls)

    @property
    def changed(self) -> asyncio.Condition:
        return self._changed

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connection = Connection(self, reader, writer, task)
        self._connections.add(connection)
        try:
            with suppress(asyncio.CancelledError, OSError):
                await connection.serve()
        finally:
            self._connections.discard(connection)
            await connection.end()


class Connection:
    """An MCP connection, which holds the leases of the messages that it received."""

    def __init__(
        self,
        hive: Hive,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        task: "asyncio.Task[None]",
    ) -> None:
        self.hive, self.reader, self.writer, self.task = hive, reader, writer, task
        self.client = ""
        self.leased: dict[int, dict[str, Any]] = {}
        self.requests: set[asyncio.Task[None]] = set()

    async def serve(self) -> None:
        while line := await self.reader.readline():
            request = json.loads(line)
            if "id" in request:
                task = asyncio.create_task(self.handle(request))
                self.requests.add(task)
                task.add_done_callback(self.requests.discard)

    async def end(self) -> None:
        for task in list(self.requests):
            task.cancel()
        await self.requeue(list(self.leased))
        self.writer.close()

    def notify(self, method: str, params: dict[str, Any]) -> None:
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        self.writer.write(json.dumps(message).encode() + b"\n")

    async def requeue(self, ids: list[int]) -> None:
        for number in ids:
            message = self.leased.pop(number)
            message["redeliveries"] += 1  # also if it is not an attempt, as in the broker
            if message["redeliveries"] <= self.hive.most:
                self.hive.queued.insert(0, message)
        await self.hive.notify()

    async def handle(self, request: dict[str, Any]) -> None:
        match request["method"]:
            case "initialize":
                self.client = request["params"]["clientInfo"]["name"]
                self.hive.greeted.append(self.client)
                await self.hive.notify()
                if self.hive.rude:
                    self.writer.close()
                    return
                result = {
                    "protocolVersion": request["params"]["protocolVersion"],
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": "fake", "version": "1"},
                }
            case "tools/list":
                tools = OWN if self.client == "hyperhive-harness" else {"recv": ANY, "send": ANY}
                result = {"tools": [{"name": n, "inputSchema": s} for n, s in tools.items()]}
            case "tools/call":
                result = await self.call(**request["params"])
            case _:
                result = {}
        answer = {"jsonrpc": "2.0", "id": request["id"], "result": result}
        self.writer.write(json.dumps(answer).encode() + b"\n")

    async def call(self, name: str, arguments: dict[str, Any], **_: Any) -> dict[str, Any]:
        self.hive.calls.append((self.client, name, arguments))
        await self.hive.notify()
        if name in self.hive.refuse:
            sentence = self.hive.refuse[name]
            return {"content": [{"type": "text", "text": sentence}], "isError": True}
        try:
            data = await getattr(self, name)(**arguments)
        except LookupError as exc:
            return {"content": [{"type": "text", "text": str(exc)}], "isError": True}
        return {
            "content": [{"type": "text", "text": json.dumps(data)}],
            "structuredContent": data,
        }

    async def recv(
        self, wait_seconds: float, max: int, urgent_only: bool = False
    ) -> dict[str, Any]:
        def fitting() -> list[dict[str, Any]]:
            return [m for m in self.hive.queued if m["urgent"] or not urgent_only]

        async with self.hive.changed:
            await self.hive.changed.wait_for(lambda: bool(fitting()))
            taken = fitting()[:max]
            self.hive.queued = [m for m in self.hive.queued if m not in taken]
        self.leased |= {message["id"]: message for message in taken}
        return {"messages": [dict(message) for message in taken]}

    async def ack(self, ids: list[int], cancelled: bool = False) -> dict[str, Any]:
        if not self.leased.keys() >= set(ids):
            raise LookupError(f"{ids} are not leased by you")
        for number in ids:
            del self.leased[number]
        if cancelled:
            self.hive.cancelled += ids
        else:
            self.hive.acknowledged += ids
        await self.hive.notify()
        return {}

    async def release(
        self, ids: list[int], reason: str = "", uncounted: bool = False
    ) -> dict[str, Any]:
        self.hive.reasons.append(reason)
        await self.requeue(ids)
        return {}

    async def command_done(self, id: int, **answer: Any) -> dict[str, Any]:
        self.hive.answers[id] = answer
        await self.hive.notify()
        return {}

    async def get_open_threads(self, limit: int) -> dict[str, Any]:
        return {"counts": dict(self.hive.open), "threads": []}

    async def record_turn(self, **turn: Any) -> dict[str, Any]:
        self.hive.recorded.append(turn)
        await self.hive.notify()
        return {}

    async def trace(self, traceparent: str) -> dict[str, Any]:
        self.hive.traceparent = traceparent
        await self.hive.notify()
        return {}

    async def record_spans(self, spans: list[dict[str, Any]]) -> dict[str, Any]:
        self.hive.spans += spans
        await self.hive.notify()
        return {}

    async def describe(self) -> dict[str, Any]:
        return {"model": "", "limits": {"tasks_max": 4096}}

    async def report(self, **_: Any) -> dict[str, Any]:
        return {}

    async def ask_permission(self, **question: Any) -> dict[str, Any]:
        for number in self.hive.open_questions:
            if self.hive.questions[number]["call"] == question["call"]:
                return {"question": number}
        self.hive.questions.append(question | {"open": True})
        await self.hive.notify()
        return {"question": len(self.hive.questions) - 1}

    async def cancel_permission(self, id: int) -> dict[str, Any]:
        self.hive.questions[id]["open"] = False
        await self.hive.notify()
        return {}

    async def send(self, **message: Any) -> dict[str, Any]:
        self.hive.sent.append(message)
        self.hive.sent_in.append(self.hive.traceparent)
        await self.hive.notify()
        return {"id": 1000 + len(self.hive.sent)}
