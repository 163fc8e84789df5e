"""A command in an agent's container, over the socket that the container offers.

The container may be hostile. Its end is a socket: hivectl opens no file of the container, and what
comes from it is bytes for standard output and standard error, and an exit code.
`harness/execute.py` describes the frames.
"""

import io
import json
import os
import signal
import socket
import struct
import termios
import threading
import tty
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from hivectl.exit_codes import CommandError, Exit

if TYPE_CHECKING:
    from typing_extensions import Buffer

RUN: Final = 0
INPUT: Final = 1
SIZE: Final = 2
SIGNAL: Final = 3

OUTPUT: Final = 0
ERRORS: Final = 1
END: Final = 2

HEAD: Final = struct.Struct(">BI")
CODE: Final = struct.Struct(">I")
CHUNK: Final = 64 * 1024
MAX_FRAME: Final = 256 * 1024
END_SECONDS: Final = 10.0
"""The seconds that a command has to end after the signal to end, before the connection ends."""
SEND_SECONDS: Final = 1.0
"""The seconds that the handler of a signal waits for its turn to send."""

Write = Callable[[bytes], object]
"""Takes output; may raise, which ends the command."""


class Command:
    """A command in a container."""

    def __init__(self, connection: socket.socket, name: str) -> None:
        """Use `connection` to the container of the agent `name`."""
        connection.setblocking(True)
        self._connection = connection
        self._name = name
        self._sending = threading.Lock()
        self._is_abandoned = False

    def start(self, command: Sequence[str], terminal: str = "") -> None:
        """Start a command, or the login shell for none; with `terminal`, on a terminal of its own.

        Args:
            command: the words of the command.
            terminal: the type of the terminal; empty for none.
        """
        wanted: dict[str, object] = {"command": list(command), "terminal": terminal}
        if terminal:
            wanted["size"] = list(_window())
        self._send(RUN, json.dumps(wanted).encode())

    def feed(self, file: int) -> None:
        """Send what `file` has as standard input, to its end, in a thread of its own."""

        def copy() -> None:
            with suppress(OSError):
                while data := os.read(file, CHUNK):
                    self._send(INPUT, data)
            self.end_input()

        threading.Thread(target=copy, daemon=True).start()

    def type(self, data: bytes) -> None:
        """Send standard input.

        Raises:
            OSError: the command has ended.
        """
        self._send(INPUT, data)

    def end_input(self) -> None:
        """End standard input."""
        with suppress(OSError):
            self._send(INPUT, b"")

    def resize(self) -> None:
        """Tell the size of the window."""
        self._send_at_once(SIZE, struct.pack(">HH", *_window()))

    def signal(self, number: int) -> bool:
        """Send the command a signal; return whether that was possible."""
        return self._send_at_once(SIGNAL, bytes([number]))

    def abandon(self) -> None:
        """End the connection, also while another thread uses it."""
        self._is_abandoned = True
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def run(self, output: Write, errors: Write) -> int:
        """Pass the output on until the command ends; return its exit code.

        Raises:
            CommandError: the container ended the connection, or sends something else.
        """
        while True:
            kind, content = self.next_frame()
            if kind == END:
                return int.from_bytes(content)
            (output if kind == OUTPUT else errors)(content)

    def next_frame(self) -> tuple[int, bytes]:
        """Return the next output: OUTPUT, ERRORS, or END with one byte, the exit code.

        Raises:
            CommandError: the container ended the connection, or sends something else.
        """
        kind, content = self._receive()
        if kind == END and len(content) == CODE.size:
            return END, content[-1:]
        if kind not in (OUTPUT, ERRORS):
            raise CommandError(
                Exit.FAILED, f"The container of {self._name} does not send what a command sends."
            )
        return kind, content

    def output(self, errors: Write) -> "CommandOutput":
        """Return standard output as a file; the ends of the file and of the command are one."""
        return CommandOutput(self.next_frame, errors)

    def input(self) -> "CommandInput":
        """Return standard input as a file."""
        return CommandInput(self)

    def close(self) -> None:
        """End the command, if it has not ended."""
        self._connection.close()

    def _send(self, kind: int, content: bytes) -> None:
        with self._sending:
            self._connection.sendall(HEAD.pack(kind, len(content)) + content)

    def _send_at_once(self, kind: int, content: bytes) -> bool:
        """Send a frame in the handler of a signal; return whether it was sent.

        The container may read nothing, and then standard input waits with the lock.
        """
        if not self._sending.acquire(timeout=SEND_SECONDS):
            return False
        try:
            frame = HEAD.pack(kind, len(content)) + content
            return self._connection.send(frame, socket.MSG_DONTWAIT) == len(frame)
        except OSError:
            return False
        finally:
            self._sending.release()

    def _receive(self) -> tuple[int, bytes]:
        kind, length = HEAD.unpack(self._exactly(HEAD.size))
        if length > MAX_FRAME:
            raise CommandError(
                Exit.FAILED, f"The container of {self._name} sends a frame of {length} bytes."
            )
        return kind, self._exactly(length)

    def _exactly(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            try:
                more = self._connection.recv(count - len(data))
            except OSError:
                more = b""
            if not more and self._is_abandoned:
                raise CommandError(
                    Exit.INTERRUPTED, f"The command of {self._name} did not end, and was cut off."
                )
            if not more:
                raise CommandError(
                    Exit.UNAVAILABLE,
                    f"The container of {self._name} ended the command: it has stopped, or a "
                    "program in it ended the unit of the command.",
                )
            data += more
        return bytes(data)


class CommandOutput(io.RawIOBase):
    """The standard output of a command, as a file to read."""

    code: int | None = None
    """The exit code, at the end of the file."""

    def __init__(self, next_frame: Callable[[], tuple[int, bytes]], errors: Write) -> None:
        self._next_frame = next_frame
        self._errors = errors
        self._data = memoryview(b"")

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def readinto(self, buffer: "Buffer", /) -> int:
        """Read into `buffer`; return how much, 0 at the end."""
        room = memoryview(buffer).cast("B")
        while not self._data and self.code is None:
            kind, content = self._next_frame()
            if kind == END:
                self.code = content[0]
            elif kind == OUTPUT:
                self._data = memoryview(content)
            else:
                self._errors(content)
        count = min(len(room), len(self._data))
        room[:count] = self._data[:count]
        self._data = self._data[count:]
        return count


class CommandInput(io.RawIOBase):
    """The standard input of a command, as a file to write."""

    def __init__(self, command: Command) -> None:
        self._command = command

    def writable(self) -> bool:
        """Return that it can be written."""
        return True

    def write(self, data: "Buffer", /) -> int:
        """Send `data`; raise OSError when the command has ended."""
        part = bytes(memoryview(data).cast("B")[:CHUNK])
        self._command.type(part)
        return len(part)


@contextmanager
def raw_terminal(command: Command) -> Iterator[None]:
    """Have this terminal pass all keys and sizes on to the command for as long as this lasts."""
    before = termios.tcgetattr(0)
    tty.setraw(0)
    resized = signal.signal(signal.SIGWINCH, lambda _number, _frame: command.resize())
    try:
        command.resize()
        yield
    finally:
        signal.signal(signal.SIGWINCH, resized)
        termios.tcsetattr(0, termios.TCSADRAIN, before)


@contextmanager
def passed_signals(command: Command) -> Iterator[None]:
    """Pass Ctrl-C and the signal to end on to the command for as long as this lasts.

    The container may be hostile, and ignore them. So the second Ctrl-C ends the connection, and
    END_SECONDS after the signal to end it ends, too.
    """
    timers: list[threading.Timer] = []
    got: set[int] = set()

    def handle(number: int, _frame: object) -> None:
        again = number in got
        got.add(number)
        if not command.signal(number) or again:
            command.abandon()
        elif number != signal.SIGINT:
            timers.append(threading.Timer(END_SECONDS, command.abandon))
            timers[-1].daemon = True
            timers[-1].start()

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for timer in timers:
            timer.cancel()


def _window() -> tuple[int, int]:
    """Return the rows and columns of the terminal."""
    try:
        columns, rows = os.get_terminal_size()
    except OSError:
        return 24, 80
    return max(rows, 1), max(columns, 1)
