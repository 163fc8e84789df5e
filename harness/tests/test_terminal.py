"""The shell of the operator: its frames, its size, its end, and who may have one."""

import os
import re
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from harness import terminal

LIMIT = 20.0
SERVE = (
    "import socket, sys; from harness import terminal;"
    "terminal.serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])"
)


def text(data: str) -> bytes:
    return terminal.HEAD.pack(terminal.TEXT, len(data)) + data.encode()


def size(rows: int, columns: int) -> bytes:
    return terminal.HEAD.pack(terminal.SIZE, 4) + struct.pack(">HH", rows, columns)


@contextmanager
def shell(*command: str) -> Iterator[tuple[socket.socket, subprocess.Popen[bytes]]]:
    """Serve `command` to the socket, in a process of its own."""
    ours, theirs = socket.socketpair()
    ours.settimeout(LIMIT)
    line = [
        sys.executable,
        "-B",
        "-c",
        SERVE,
        str(theirs.fileno()),
        *(command or ("/bin/sh", "-i")),
    ]
    with theirs:
        served = subprocess.Popen(
            line,
            pass_fds=[theirs.fileno()],
            env={**os.environ, "PS1": "$ ", "COLUMNS": "7", "LINES": "7"},
            stderr=subprocess.PIPE,
        )
    with ours, served:
        try:
            yield ours, served
        finally:
            served.kill()


def until(connection: socket.socket, wanted: str) -> str:
    """Read the output until it has a text; return all of it."""
    seen = b""
    while wanted.encode() not in seen:
        data = connection.recv(4096)
        assert data, f"the output ended without {wanted!r}: {seen!r}"
        seen += data
    return seen.decode()


def rest(connection: socket.socket) -> bytes:
    """Read the output to its end."""
    seen = b""
    with suppress(ConnectionResetError):
        while data := connection.recv(4096):
            seen += data
    return seen


def test_a_shell_gets_keys_and_the_size_of_the_window() -> None:
    with shell() as (connection, served):
        connection.sendall(size(24, 80))
        until(connection, "$ ")
        connection.sendall(text('stty size; echo $TERM; echo "in-$LISTEN_FDS"\n'))
        assert "24 80" in until(connection, "in-\r\n")
        connection.sendall(size(40, 132) + text("stty size; echo $(tput cols) wide\n"))
        assert "40 132" in until(connection, "132 wide")
        # Ctrl-C reaches the program in the foreground.
        connection.sendall(text("sh -c 'echo it $0; exec sleep 60' runs\n"))
        until(connection, "it runs")
        connection.sendall(text("\x03"))
        until(connection, "$ ")
        connection.sendall(text("echo 'still ''here'\n"))
        until(connection, "still here")
        connection.sendall(text("exit\n"))
        rest(connection)
        assert served.wait(LIMIT) == 0


def test_programs_end_with_the_connection() -> None:
    with shell() as (connection, served):
        connection.sendall(size(24, 80))
        until(connection, "$ ")  # before the prompt, what is typed would be echoed twice
        connection.sendall(text("echo 'pid ''is' $$ now\n"))
        found = re.search(r"pid is (\d+) now", until(connection, " now\r\n$ "))
        assert found
        pid = int(found[1])
        connection.close()
        assert served.wait(LIMIT) == 0
        end = time.monotonic() + LIMIT
        while _runs(pid):
            assert time.monotonic() < end
            time.sleep(0.01)  # the shell is a child of the process that has ended


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize(
    "sent",
    [
        text("id\n"),
        b"GET / HTTP/1.1\r\n\r\n",
        terminal.HEAD.pack(7, 4) + b"abcd",
        terminal.HEAD.pack(terminal.SIZE, 2) + b"ab",
        terminal.HEAD.pack(terminal.TEXT, 10**9),
    ],
)
def test_what_is_no_frame_gets_no_shell(sent: bytes) -> None:
    with shell("/bin/echo", "a shell") as (connection, served):
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        assert rest(connection) == b""
        assert served.wait(LIMIT) != 0


def test_a_program_of_the_container_gets_no_shell() -> None:
    """A process that the kernel can name is in the container."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert not terminal.is_outside(theirs)
        ours.settimeout(LIMIT)
        line = [sys.executable, "-B", "-m", "harness.terminal"]
        served = subprocess.Popen(line, stdin=theirs.fileno(), stderr=subprocess.PIPE)
        theirs.close()
        ours.sendall(size(24, 80))
        assert rest(ours) == b""
        _, said = served.communicate(timeout=LIMIT)
    assert (served.returncode, b"wanted a terminal" in said) == (1, True)
