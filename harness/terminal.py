"""`python -P -m harness.terminal`: a shell on a terminal of its own, for one connection.

systemd passes the connection as standard input. What the operator types comes in frames: a byte for
the kind, the length in four bytes, then the content, which is text (`TEXT`) or a size in rows and
columns (`SIZE`, two bytes each). The first frame is a size. The shell's output goes back as it is.

The directory of the socket belongs to the container, so each program in it can connect. They are
refused: the shell is root's. A process of the host has no number in the container, so the kernel
tells its number as 0.
"""

import fcntl
import os
import pty
import pwd
import signal
import socket
import struct
import sys
import termios
import threading
from contextlib import suppress
from typing import Final

TEXT: Final = 0
SIZE: Final = 1

HEAD: Final = struct.Struct(">BI")
MAX_FRAME: Final = 64 * 1024
CHUNK: Final = 16 * 1024
FIRST_SECONDS: Final = 10.0
"""The seconds in which the first frame must come."""

_NOT_INHERITED: Final = (
    # About this unit, not about the shell.
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "LISTEN_FDS",
    "LISTEN_PID",
    "SYSTEMD_EXEC_PID",
    # Programs believe these before the terminal, which alone follows the window.
    "COLUMNS",
    "LINES",
)
_SIZE: Final = struct.Struct(">HH")
_PEER: Final = struct.Struct("iII")


class FrameError(Exception):
    """The other side does not speak this protocol, or has gone."""


def is_outside(connection: socket.socket) -> bool:
    """Return whether the other side of a connection is a process that this container cannot see."""
    told = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    pid, _uid, _gid = _PEER.unpack(told)
    return bool(pid == 0)


def serve(connection: socket.socket, shell: list[str]) -> None:
    """Run `shell` until it ends or the other side has gone.

    Raises:
        FrameError: the first frame does not come, or is not a size.
    """
    connection.settimeout(FIRST_SECONDS)
    kind, size = _frame(connection)
    if kind != SIZE:
        raise FrameError("The first frame is not a size.")
    connection.settimeout(None)
    child, terminal = pty.fork()
    if child == 0:
        _become(shell)
    resize(terminal, size)
    output = threading.Thread(target=_copy, args=(terminal, connection), daemon=True)
    output.start()
    try:
        with suppress(FrameError, OSError):
            while True:
                kind, content = _frame(connection)
                if kind == SIZE:
                    resize(terminal, content)
                else:
                    write_all(terminal, content)
    finally:
        # The shell and its programs get SIGHUP, as when a window is closed.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child, signal.SIGHUP)
        connection.close()


def without_unit() -> dict[str, str]:
    """Return the environment without the variables about this unit."""
    return {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}


def _become(shell: list[str]) -> None:
    """Become the shell, in the child."""
    try:
        environment = {**without_unit(), "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        os.execvpe(shell[0], shell, environment)  # noqa: S606 - the shell is the point
    finally:
        os._exit(127)


def _copy(terminal: int, connection: socket.socket) -> None:
    """Copy the shell's output until it ends, and say so to the other side."""
    with suppress(OSError):  # also at the end of the shell
        while data := os.read(terminal, CHUNK):
            connection.sendall(data)
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _frame(connection: socket.socket) -> tuple[int, bytes]:
    kind, length = HEAD.unpack(_exactly(connection, HEAD.size))
    if kind not in (TEXT, SIZE) or length > MAX_FRAME or (kind == SIZE and length != _SIZE.size):
        raise FrameError("This is not a frame.")
    return kind, _exactly(connection, length)


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        try:
            more = connection.recv(count - len(data))
        except TimeoutError as error:
            raise FrameError("No frame has come in time.") from error
        if not more:
            raise FrameError("The connection has ended.")
        data += more
    return bytes(data)


def resize(terminal: int, size: bytes) -> None:
    """Give a terminal a size, in rows and columns of two bytes each."""
    rows, columns = _SIZE.unpack(size)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def write_all(terminal: int, data: bytes) -> None:
    """Write all of `data`."""
    while data:
        data = data[os.write(terminal, data) :]


def login_shell() -> list[str]:
    """Return the command of the user's login shell."""
    shell = pwd.getpwuid(os.getuid()).pw_shell or "/bin/sh"
    return [shell if os.access(shell, os.X_OK) else "/bin/sh", "-l"]


def main() -> int:
    """Serve the connection that is standard input; return the exit status."""
    connection = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    if not is_outside(connection):
        print("a program of the container wanted a terminal", file=sys.stderr)  # noqa: T201
        return 1
    try:
        serve(connection, login_shell())
    except FrameError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
