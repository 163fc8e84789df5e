"""Commands of the operator: pipes and terminals, exit codes, signals, and the operator who goes."""

import json
import os
import select
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from harness import execute

LIMIT = 20.0
SERVE = (
    "import socket, sys; from harness import execute;"
    "execute.serve(socket.socket(fileno=int(sys.argv[1])))"
)


class Served:
    """The operator's end of a command."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection

    def send(self, kind: int, content: bytes) -> None:
        self.connection.sendall(execute.HEAD.pack(kind, len(content)) + content)

    def start(self, *command: str, terminal: str = "") -> None:
        wanted = {"command": command, "terminal": terminal, "size": [33, 111]}
        self.send(execute.RUN, json.dumps(wanted).encode())

    def frame(self) -> tuple[int, bytes]:
        kind, length = execute.HEAD.unpack(self._exactly(execute.HEAD.size))
        return kind, self._exactly(length)

    def end(self) -> tuple[int, bytes, bytes]:
        """Return the exit code, the output and the errors."""
        found = {execute.OUTPUT: b"", execute.ERRORS: b""}
        while True:
            kind, content = self.frame()
            if kind == execute.END:
                [code] = execute.CODE.unpack(content)
                return code, found[execute.OUTPUT], found[execute.ERRORS]
            found[kind] += content

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self.connection.recv(count - len(data))
            assert more, "the connection has ended"
            data += more
        return data


@contextmanager
def served() -> Iterator[tuple[Served, subprocess.Popen[bytes]]]:
    ours, theirs = socket.socketpair()
    ours.settimeout(LIMIT)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-B", "-c", SERVE, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env={**os.environ, "INVOCATION_ID": "0123"},
        )
    with ours, process:
        try:
            yield Served(ours), process
        finally:
            process.kill()


def test_a_command_gets_input_and_gives_output_errors_and_its_exit_code() -> None:
    with served() as (operator, _):
        operator.start("sh", "-c", "cat; echo bad >&2; echo $INVOCATION_ID; exit 7")
        operator.send(execute.INPUT, b"one ")
        operator.send(execute.INPUT, b"two\n")
        operator.send(execute.INPUT, b"")
        assert operator.end() == (7, b"one two\n\n", b"bad\n")


def test_a_command_that_does_not_exist_has_the_exit_code_of_shells() -> None:
    with served() as (operator, _):
        operator.start("/nowhere/x")
        code, _, errors = operator.end()
        assert (code, errors) == (127, b"/nowhere/x: No such file or directory\n")
    with served() as (operator, _):
        operator.start("/etc/passwd", terminal="dumb")
        assert operator.end()[0] == 126


def test_a_terminal_has_the_size_and_the_type_of_the_operators() -> None:
    with served() as (operator, _):
        script = "tty >/dev/null && stty size; echo $TERM; read x; stty size; exit 3"
        operator.start("sh", "-c", script, terminal="xterm-z")
        seen = b""
        while b"xterm-z" not in seen:
            seen += operator.frame()[1]
        assert seen.startswith(b"33 111\r\n")
        operator.send(execute.SIZE, struct.pack(">HH", 44, 99))
        operator.send(execute.INPUT, b"\n")
        code, rest, _ = operator.end()
        assert (code, rest.split()[-2:]) == (3, [b"44", b"99"])


def test_a_signal_reaches_the_command() -> None:
    with served() as (operator, _):
        operator.start("sh", "-c", "trap 'exit 9' INT; echo up; while :; do sleep 0.01; done")
        assert operator.frame() == (execute.OUTPUT, b"up\n")
        operator.send(execute.SIGNAL, bytes([2]))
        assert operator.end()[0] == 9


def test_a_command_ends_with_its_operator() -> None:
    with served() as (operator, process):
        operator.start("sh", "-c", "echo $$; exec sleep 1000")
        child = os.pidfd_open(int(operator.frame()[1]))
        operator.connection.close()
        assert process.wait(LIMIT) == 1
        assert select.select([child], [], [], LIMIT)[0] == [child]
        os.close(child)


def test_other_words_are_refused() -> None:
    with served() as (operator, process):
        operator.send(execute.INPUT, b"x")
        assert process.wait(LIMIT) == 1
