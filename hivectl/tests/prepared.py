"""hivectl as processes that begin with all modules imported: forks of one process.

Such a process has arguments, an environment, pipes and an exit status of its own, as any other has.
Only the start of Python and the imports, most of the cost of a short command, are shared.
"""

import asyncio
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import pty
import runpy
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NoReturn

from hivectl.command_table import sections

PACKAGES = ("hivectl", "wire")
LEFT_OUT = ("tests", "__main__")
READY = b"ready"


class Prepared:
    """A process that has imported hivectl, and forks for each command."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control

    async def run(
        self, module: str, arguments: Sequence[str], stdin: bytes, environment: Mapping[str, str]
    ) -> tuple[int, bytes, bytes]:
        """Run a module as `python -m` does; kill the process if this call is cancelled.

        Args:
            module: Its name.
            arguments: Its arguments, without its name.
            stdin: All that it can read.
            environment: All its variables. Python itself has read its own when it started.

        Returns:
            The exit status (negative for a signal), the output and the errors.
        """
        order = _order(module, arguments, environment)
        # The standard streams, and the pipe that tells of the process.
        (stdin_r, stdin_w), (out_r, out_w), (err_r, err_w), (told_r, told_w) = (
            os.pipe() for _ in range(4)
        )
        self._send([order, stdin_r, out_w, err_w, told_w])
        told = await _reader(told_r)
        out, err = await _reader(out_r), await _reader(err_r)
        writing = asyncio.create_task(_write(stdin_w, stdin))
        pid = int(await told.readline())
        try:
            printed = await asyncio.gather(out.read(), err.read())
            return int(await told.read()), *printed
        except asyncio.CancelledError:
            os.kill(pid, signal.SIGKILL)
            await told.read()
            raise
        finally:
            await writing

    async def run_on_terminal(
        self, module: str, arguments: Sequence[str], environment: Mapping[str, str]
    ) -> tuple[int, bytes]:
        """Run a module whose standard streams are a new terminal.

        Returns:
            The exit status, and all that the terminal shows, with newlines alone.
        """
        master, slave = pty.openpty()
        attributes = termios.tcgetattr(slave)
        attributes[1] &= ~termios.OPOST
        termios.tcsetattr(slave, termios.TCSANOW, attributes)
        told_r, told_w = os.pipe()
        order = _order(module, arguments, environment)
        self._send([order, slave, os.dup(slave), os.dup(slave), told_w])
        told = await _reader(told_r)
        shown = await asyncio.to_thread(_all_of, master)
        return int((await told.read()).split()[1]), shown

    def _send(self, descriptors: Sequence[int]) -> None:
        """Order a process: the order, its standard streams, and the pipe that tells of it."""
        socket.send_fds(self._control, [READY], descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _order(module: str, arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Return a file with the module to run, its arguments and its variables."""
    order = os.memfd_create("order")
    os.write(order, json.dumps([module, list(arguments), dict(environment)]).encode())
    return order


def _all_of(terminal: int) -> bytes:
    """Read what a terminal shows until nobody has it open any more."""
    text = b""
    with contextlib.suppress(OSError):  # at its end
        while data := os.read(terminal, 65536):
            text += data
    os.close(terminal)
    return text


@contextlib.contextmanager
def prepared(environment: Mapping[str, str]) -> Iterator[Prepared]:
    """Prepare processes of hivectl; `environment` holds the variables that Python reads."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-m", "hivectl.tests.prepared", str(theirs.fileno())]
    with (
        ours,
        subprocess.Popen(
            command,
            env=dict(environment),
            pass_fds=[theirs.fileno()],
            # Its forks have the pipes of their commands in the place of these.
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process,
    ):
        theirs.close()
        assert process.stdout is not None
        assert process.stdout.readline().strip() == READY
        yield Prepared(ours)
        ours.close()  # It ends then.


async def _reader(descriptor: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    pipe = os.fdopen(descriptor, "rb", buffering=0)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, pipe)
    return reader


async def _write(descriptor: int, data: bytes) -> None:
    """Write all of `data`, unless the process ends before it has read it."""

    def write() -> None:
        with contextlib.suppress(BrokenPipeError), os.fdopen(descriptor, "wb") as pipe:
            pipe.write(data)

    await asyncio.to_thread(write)


def _serve(control: socket.socket) -> None:
    """Fork for each order, until nobody can send one."""
    # Nobody waits for the forks that wait for the commands.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        packet, descriptors, *_ = socket.recv_fds(control, len(READY), 8)
        if not packet:
            return
        if os.fork() == 0:
            control.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            *streams, told = descriptors
            if pid := os.fork():
                _attend(pid, streams, told)
            os.close(told)
            _become(*streams)
        for descriptor in descriptors:
            os.close(descriptor)


def _attend(pid: int, streams: Sequence[int], told: int) -> NoReturn:
    """Tell of the beginning and the end of a process."""
    for descriptor in streams:
        os.close(descriptor)
    os.write(told, f"{pid}\n".encode())
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.write(told, f"{code}".encode())
    os._exit(0)


def _become(order: int, *streams: int) -> NoReturn:
    """Become the process that was ordered."""
    for standard, descriptor in enumerate(streams):
        os.dup2(descriptor, standard)
        os.close(descriptor)
    with os.fdopen(order) as file:
        file.seek(0)
        module, arguments, environment = json.load(file)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    sys.argv[1:] = arguments
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        _end(end.code)
    sys.exit()


def _end(code: str | int | None) -> NoReturn:
    """End with an exit status, unless it is for Python to say why.

    Python would take apart all modules, which takes longer than most commands.
    """
    gc.collect()  # what is not closed yet is told of now
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (AttributeError, OSError, ValueError):
        sys.exit(code)
    if isinstance(code, int):
        os._exit(code)
    sys.exit(code)


def _import_all() -> None:
    """Import the modules of hivectl and of wire, which a command imports as it needs them."""
    for package in PACKAGES:
        path = importlib.import_module(package).__path__
        for module in pkgutil.walk_packages(path, f"{package}."):
            if not any(part in LEFT_OUT for part in module.name.split(".")):
                importlib.import_module(module.name)
    sections()


if __name__ == "__main__":
    _import_all()
    gc.freeze()  # Otherwise each fork looks through all that is imported, and copies its pages.
    print(READY.decode(), flush=True)
    with socket.socket(fileno=int(sys.argv[1])) as control:
        _serve(control)
