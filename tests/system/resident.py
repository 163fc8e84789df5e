"""The process of the system tests in a sandbox: it runs commands and answers questions.

Each hive of the tests starts it once, inside and as root: `python -P resident.py`. It reads
requests from its standard input, and writes the answers to its standard output, one JSON object a
line; answers come in the order in which they are ready. When its input ends, it kills its children
and exits. `tests.system.hive` is the client.

These are the requests; each has an `id` that its answer repeats:

- `{"do": "run", "command": [...], "stdin": TEXT, "timeout": SECONDS}` runs a program;
- `{"do": "hivectl", "arguments": [...], ...}` runs hivectl in a forked process that has all
  modules loaded: this is the same code without 0.3 s of imports;
- `{"do": "script", "path": FILE, "arguments": [...], ...}` does the same with a
  Python file. The answer to these three is `{"status": N, "stdout": TEXT, "stderr": TEXT}`, or
  `{"late": true}`;
- `{"do": "call", "target": [DESTINATION, PATH, INTERFACE, MEMBER], "signature": TEXT,
  "arguments": [...]}` calls a method; the answer is `{"result": [...]}`;
- `{"do": "until", "target": [DESTINATION, PATH, INTERFACE, PROPERTY], "wanted": [...],
  "timeout": SECONDS}` waits, by the signals of DESTINATION, until the property has one of the
  values; the answer is `{"result": VALUE}`;
- `{"do": "until_absent", "target": [DESTINATION, PATH, INTERFACE], "timeout": SECONDS}` waits until
  no object below PATH has INTERFACE;
- `{"do": "until_unit", "unit": UNIT, "wanted": {PROPERTY: VALUE, ...}, "after": INVOCATION,
  "timeout": SECONDS}` waits until a unit's properties have these values, in another life than
  INVOCATION;
- `{"do": "newest_message"}` returns the number of the newest message, 0 without any:
  `{"result": NUMBER}`;
- `{"do": "until_message", "filter": {"to": NAME, "kind": KIND, "after": NUMBER}, "words": TEXT,
  "timeout": SECONDS}` waits for a message with a greater number and these words; the answer is
  `{"result": BODY}`;
- `{"do": "until_settled", "message": NUMBER, "wanted": [...], "timeout": SECONDS}` waits until a
  message has one of the states; the answer is `{"result": STATE}`.

The answer to a request that fails is `{"error": NAME, "text": SENTENCE}`.
"""

import asyncio
import importlib
import json
import os
import pkgutil
import runpy
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

import hivectl
from wire import names
from wire.bus import Bus
from wire.clients.broker import BrokerClient
from wire.errors import HiveError, NotFound, Stopping, Unavailable
from wire.records.broker import MessageFilter

SYSTEMD = (
    "org.freedesktop.systemd1",
    "/org/freedesktop/systemd1",
    "org.freedesktop.systemd1.Manager",
)
LINE_LIMIT = 64 * 1024 * 1024


class Resident:
    """Answers all requests, several at a time."""

    def __init__(self, answers: int) -> None:
        self._answers = answers
        self._bus: Bus | None = None
        self._connecting = asyncio.Lock()
        self._children: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, requests: asyncio.StreamReader) -> None:
        """Answer each request in a task, until the input ends."""
        try:
            while line := await requests.readline():
                task = asyncio.create_task(self._answer(json.loads(line)))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        finally:
            for pid in self._children:
                os.killpg(pid, signal.SIGKILL)

    async def _answer(self, request: dict[str, Any]) -> None:
        try:
            answer = await getattr(self, f"_{request['do']}")(request)
        except HiveError as error:
            answer = {"error": error.name, "text": str(error)}
        except TimeoutError:
            answer = {"late": True}
        except Exception as error:
            answer = {"error": type(error).__name__, "text": traceback.format_exc()}
        line = json.dumps({"id": request["id"], **answer}).encode() + b"\n"
        while line:
            line = line[os.write(self._answers, line) :]

    async def _run(self, request: dict[str, Any]) -> dict[str, Any]:
        command = request["command"]

        def execute() -> int:
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            try:
                os.execvp(command[0], command)
            except OSError as error:
                print(f"{command[0]}: {error}", file=sys.stderr)
                return 127

        return await self._in_child(request, execute)

    async def _hivectl(self, request: dict[str, Any]) -> dict[str, Any]:
        def run() -> int:
            from hivectl.__main__ import main

            sys.argv = ["hivectl", *request["arguments"]]
            main()
            return 0

        return await self._in_child(request, run)

    async def _script(self, request: dict[str, Any]) -> dict[str, Any]:
        def run() -> int:
            sys.argv = [request["path"], *request["arguments"]]
            runpy.run_path(request["path"], run_name="__main__")
            return 0

        return await self._in_child(request, run)

    async def _in_child(self, request: dict[str, Any], body: Callable[[], int]) -> dict[str, Any]:
        """Run `body` in a forked process, wait for its end, and return its status and output."""
        files = [os.memfd_create(name) for name in ("stdin", "stdout", "stderr")]
        try:
            os.write(files[0], request["stdin"].encode())
            os.lseek(files[0], 0, os.SEEK_SET)
            pid = os.fork()
            if pid == 0:
                _be_child(files, body)
            self._children.add(pid)
            try:
                status = await _end_of(pid, request["timeout"])
            finally:
                self._children.discard(pid)
            stdout, stderr = (_text(file) for file in files[1:])
        finally:
            for file in files:
                os.close(file)
        return {"status": status, "stdout": stdout, "stderr": stderr}

    async def _call(self, request: dict[str, Any]) -> dict[str, Any]:
        bus = await self._connected()
        arguments = request["signature"], *request["arguments"]
        return {"result": await bus.call(*request["target"], *arguments)}

    async def _until(self, request: dict[str, Any]) -> dict[str, Any]:
        bus = await self._connected()
        destination, path, interface, name = request["target"]
        asked = (destination, path, names.PROPERTIES, "Get", "ss", interface, name)
        async with (
            asyncio.timeout(request["timeout"]),
            bus.subscribe(sender=destination) as signals,
        ):
            while True:
                try:
                    value = await bus.call1(*asked)
                except (NotFound, Stopping, Unavailable):
                    value = None  # the object, or its service, is not there yet
                if value in request["wanted"]:
                    return {"result": value}
                await anext(signals)

    async def _until_absent(self, request: dict[str, Any]) -> dict[str, Any]:
        bus = await self._connected()
        destination, path, interface = request["target"]
        asked = (destination, path, names.OBJECT_MANAGER, "GetManagedObjects")
        async with (
            asyncio.timeout(request["timeout"]),
            bus.subscribe(sender=destination) as signals,
        ):
            while any(interface in shown for shown in (await bus.call1(*asked)).values()):
                await anext(signals)
        return {"result": None}

    async def _until_unit(self, request: dict[str, Any]) -> dict[str, Any]:
        bus = await self._connected()
        wanted, before = request["wanted"], request["after"]
        path = await bus.call1(*SYSTEMD, "LoadUnit", "s", request["unit"])
        asked = (SYSTEMD[0], path, names.PROPERTIES, "GetAll", "s", "")
        async with (
            asyncio.timeout(request["timeout"]),
            bus.subscribe(sender=SYSTEMD[0]) as signals,
        ):
            while True:
                shown = await bus.call1(*asked)
                same = all(shown[name] == value for name, value in wanted.items())
                if same and bytes(shown["InvocationID"]).hex() != before:
                    return {"result": None}
                await anext(signals)

    async def _newest_message(self, request: dict[str, Any]) -> dict[str, Any]:
        found = await BrokerClient(await self._connected()).list_messages(MessageFilter(), 1)
        return {"result": max((message.id for message in found), default=0)}

    async def _until_message(self, request: dict[str, Any]) -> dict[str, Any]:
        bus = await self._connected()
        broker, wanted = BrokerClient(bus), request["filter"]
        asked = MessageFilter(
            recipient=wanted["to"], kind=wanted["kind"], after=wanted["after"] or None
        )
        async with (
            asyncio.timeout(request["timeout"]),
            bus.subscribe(sender=names.BROKER) as signals,
        ):
            while True:
                for message in reversed(await broker.list_messages(asked, 100)):
                    if request["words"] in message.body:
                        return {"result": message.body}
                await anext(signals)

    async def _until_settled(self, request: dict[str, Any]) -> dict[str, Any]:
        bus = await self._connected()
        broker, number = BrokerClient(bus), request["message"]
        asked = MessageFilter(after=number - 1, before=number + 1)
        async with (
            asyncio.timeout(request["timeout"]),
            bus.subscribe(sender=names.BROKER) as signals,
        ):
            while True:
                [message] = await broker.list_messages(asked, 1)
                if message.state in request["wanted"]:
                    return {"result": message.state}
                await anext(signals)

    async def _connected(self) -> Bus:
        """Return the connection to the bus; connect again if it was lost."""
        async with self._connecting:
            if self._bus is None or self._bus.disconnected.done():
                self._bus = await Bus.connect()
                await self._bus.call(*SYSTEMD, "Subscribe")  # or systemd sends no signals of units
            return self._bus


def _be_child(files: list[int], body: Callable[[], int]) -> None:
    """Run `body` with these standard streams in the forked process, and exit; never return."""
    status = 1
    try:
        os.setsid()
        for number, file in enumerate(files):
            os.dup2(file, number)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        status = body()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)


async def _end_of(pid: int, seconds: float) -> int:
    """Wait for the end of a child, kill it after `seconds`; return its exit code."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    handle = os.pidfd_open(pid)
    loop.add_reader(handle, ended.set)
    try:
        async with asyncio.timeout(seconds):
            await ended.wait()
    except TimeoutError:
        os.killpg(pid, signal.SIGKILL)
        raise
    finally:
        loop.remove_reader(handle)
        os.close(handle)
        _, status = os.waitpid(pid, 0)  # noqa: ASYNC222 - it has ended, or was killed
    return os.waitstatus_to_exitcode(status)


def _text(file: int) -> str:
    size = os.fstat(file).st_size
    text = os.pread(file, size, 0).decode("utf-8", "replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")


async def main(requests: int, answers: int) -> None:
    """Read requests from one descriptor, and write the answers to the other."""
    reader = asyncio.StreamReader(limit=LINE_LIMIT)
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(requests, "rb"))
    await Resident(answers).serve(reader)


if __name__ == "__main__":
    for found in pkgutil.walk_packages(hivectl.__path__, "hivectl."):
        if "tests" not in found.name:
            importlib.import_module(found.name)
    # Children get other standard streams: their output must not come between the answers.
    ours = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    asyncio.run(main(*ours))
