"""`python -P -m harness.execute`: a command of the operator, for one connection.

systemd passes the connection as standard input. Both sides send frames: a byte for the kind, the
length in four bytes, then the content. The first frame is the command (`RUN`), as JSON:

    {"command": ["ls", "-l"], "terminal": "xterm", "size": [24, 80]}

Without `command`, it is the login shell; with `terminal`, it gets a terminal of its own of this
type. The operator then sends standard input (`INPUT`; an empty one ends it), sizes of the window
(`SIZE`, rows and columns in two bytes each) and signals (`SIGNAL`, a byte). The command's output
goes back as `OUTPUT` and `ERRORS`, and at its end `END` with the exit code, in four bytes.

Programs of the container can connect, too, and are refused; see `harness.terminal`.
"""

import json
import os
import pty
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from harness.terminal import CHUNK, is_outside, login_shell, resize, without_unit, write_all

RUN: Final = 0
INPUT: Final = 1
SIZE: Final = 2
SIGNAL: Final = 3

OUTPUT: Final = 0
ERRORS: Final = 1
END: Final = 2

HEAD: Final = struct.Struct(">BI")
CODE: Final = struct.Struct(">I")
MAX_FRAME: Final = 256 * 1024
FIRST_SECONDS: Final = 10.0
"""The seconds in which the first frame must come."""
DRAIN_SECONDS: Final = 2.0
"""The seconds for which output is read that others hold open after the command's end."""
NOT_FOUND: Final = 127
NOT_EXECUTABLE: Final = 126

_SIZE: Final = struct.Struct(">HH")


class FrameError(Exception):
    """The other side does not speak this protocol, or has gone."""


class Operator:
    """The operator's side of the connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._sending = threading.Lock()

    def receive(self) -> tuple[int, bytes]:
        """Return the next frame.

        Raises:
            FrameError: there is none.
        """
        kind, length = HEAD.unpack(self._exactly(HEAD.size))
        if length > MAX_FRAME:
            raise FrameError("This is not a frame.")
        return kind, self._exactly(length)

    def send(self, kind: int, content: bytes) -> None:
        """Send a frame, unless the operator has gone."""
        with self._sending, suppress(OSError):
            self._connection.sendall(HEAD.pack(kind, len(content)) + content)

    def copy(self, file: int, kind: int) -> None:
        """Send what a file has, to its end."""
        with suppress(OSError):  # also at the end of a terminal
            while data := os.read(file, CHUNK):
                self.send(kind, data)

    def end(self, code: int) -> None:
        """Send the exit code."""
        self.send(END, CODE.pack(code & 0xFF))

    def _exactly(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            try:
                more = self._connection.recv(count - len(data))
            except OSError as error:
                raise FrameError("No frame has come.") from error
            if not more:
                raise FrameError("The connection has ended.")
            data += more
        return bytes(data)


def serve(connection: socket.socket) -> None:
    """Run the command that the operator names, until it ends or the operator has gone.

    Raises:
        FrameError: the first frame does not come, or is not a command.
    """
    operator = Operator(connection)
    connection.settimeout(FIRST_SECONDS)
    kind, content = operator.receive()
    if kind != RUN:
        raise FrameError("The first frame is not a command.")
    connection.settimeout(None)
    wanted = json.loads(content)
    command = [str(word) for word in wanted.get("command") or login_shell()]
    if wanted.get("terminal"):
        _on_terminal(operator, command, str(wanted["terminal"]), wanted.get("size") or [24, 80])
    else:
        _on_pipes(operator, command)


def _on_terminal(operator: Operator, command: list[str], kind: str, size: list[int]) -> None:
    child, terminal = pty.fork()
    if child == 0:
        _become(command, {"TERM": kind, "COLORTERM": "truecolor"})
    resize(terminal, _SIZE.pack(*size))
    output = threading.Thread(target=operator.copy, args=(terminal, OUTPUT), daemon=True)
    output.start()
    orders = {INPUT: lambda data: write_all(terminal, data), SIZE: lambda s: resize(terminal, s)}
    threading.Thread(target=_follow, args=(operator, child, orders), daemon=True).start()
    _, status = os.waitpid(child, 0)
    output.join(DRAIN_SECONDS)
    operator.end(_code(os.waitstatus_to_exitcode(status)))


def _become(command: list[str], environment: Mapping[str, str]) -> None:
    """Become the command, in the child."""
    code = NOT_EXECUTABLE
    try:
        os.execvpe(command[0], command, {**without_unit(), **environment})  # noqa: S606
    except OSError as error:
        code = NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
        os.write(2, f"{command[0]}: {error.strerror}\r\n".encode())
    finally:
        os._exit(code)


def _on_pipes(operator: Operator, command: list[str]) -> None:
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(
            command,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            env=without_unit(),
            start_new_session=True,
            bufsize=0,
        )
    except OSError as error:
        operator.send(ERRORS, f"{command[0]}: {error.strerror}\n".encode())
        operator.end(NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE)
        return
    assert process.stdin is not None  # noqa: S101 - a pipe, as asked for, as are the others
    stdin = process.stdin

    def typed(data: bytes) -> None:
        with suppress(OSError, ValueError):  # the command does not read any more
            if data:
                write_all(stdin.fileno(), data)
            else:
                stdin.close()

    copies = [
        threading.Thread(target=operator.copy, args=(stream.fileno(), kind), daemon=True)
        for stream, kind in ((process.stdout, OUTPUT), (process.stderr, ERRORS))
        if stream is not None
    ]
    for one in copies:
        one.start()
    orders = {INPUT: typed}
    threading.Thread(target=_follow, args=(operator, process.pid, orders), daemon=True).start()
    status = process.wait()
    for one in copies:
        one.join(DRAIN_SECONDS)
    operator.end(_code(status))


def _follow(operator: Operator, child: int, orders: Mapping[int, object]) -> None:
    """Carry out the frames of the operator; kill the command when the operator has gone."""
    try:
        while True:
            kind, content = operator.receive()
            if kind == SIGNAL and len(content) == 1:
                _signal(child, content[0])
            elif callable(order := orders.get(kind)):
                order(content)
    except (FrameError, OSError, struct.error):
        _signal(child, signal.SIGHUP)
        # A command that ignores the signal ends with the unit.
        os._exit(1)


def _signal(child: int, number: int) -> None:
    with suppress(OSError, ValueError):
        os.killpg(child, number)


def _code(status: int) -> int:
    """Return the exit code of a process as shells tell it."""
    return 128 - status if status < 0 else status


def main() -> int:
    """Serve the connection that is standard input; return the exit status."""
    connection = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    if not is_outside(connection):
        print("a program of the container wanted to run a command", file=sys.stderr)  # noqa: T201
        return 1
    try:
        serve(connection)
    except (FrameError, ValueError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    finally:
        connection.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
