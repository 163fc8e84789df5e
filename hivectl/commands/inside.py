"""Commands that run something in a container: shell, exec, copy-to, copy-from."""

import codecs
import io
import os
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Final

import click

from hivectl import garbage
from hivectl.arguments.completers import complete_agents
from hivectl.exit_codes import CommandError, Exit, ReaderLeftError
from hivectl.output.preferences import output_options
from hivectl.output.terminal import Output
from hivectl.output.text import literal, one_line, safe

if TYPE_CHECKING:
    from hivectl.host.execute import Command
    from wire.errors import HiveError

Write = Callable[[bytes], object]

FORCE: Final = "--force"
CHUNK: Final = 64 * 1024
MAX_REST: Final = 1024 * 1024
"""The bytes that may follow an archive."""
MAX_HELD: Final = 200
"""The characters at the end of an output that wait for the rest of their word."""
MAX_SAID: Final = 4096
"""The bytes of the container's words about a failure that are shown."""

_UNPACK: Final = """
set -eu
to=$1 name=$2 force=$3
case $to in */) [ -d "$to" ] || { echo "$to is not a directory" >&2; exit 3; };; esac
[ ! -d "$to" ] || to=${to%/}/$name
if [ -e "$to" ] || [ -L "$to" ]; then
  [ "$force" = 1 ] || { echo "$to exists already; --force replaces it" >&2; exit 6; }
fi
folder=$(dirname -- "$to")
[ -d "$folder" ] || { echo "$folder is not a directory" >&2; exit 3; }
made=$(mktemp -d -- "$folder/.hivectl-XXXXXX")
trap 'rm -rf -- "$made"' EXIT
tar --no-same-owner -C "$made" -xf -
[ "$force" != 1 ] || rm -rf -- "$to"
mv -T -- "$made/x" "$to"
"""
"""Unpacks the archive of standard input as $1, or in the directory $1 with the name $2."""
_PACK: Final = """
set -eu
[ -e "$1" ] || { echo "$1 does not exist" >&2; exit 3; }
from=$(realpath -- "$1")
[ "$from" != / ] || { echo "/ cannot be copied; name a directory below it" >&2; exit 2; }
cd -- "$(dirname -- "$from")"
exec tar --format=gnu --hard-dereference -cf - -- "$(basename -- "$from")"
"""
"""Writes the archive of $1 to standard output."""

_agent = click.argument("name", shell_complete=complete_agents)


@click.command()
@_agent
def shell(name: str) -> int:
    """Open a shell in an agent's container, as its root.

    The shell begins in /state, and ends with the connection. Your terminal gets the output of the
    agent's programs unchanged; that output can control the terminal. Without a terminal, the
    commands are read from standard input.
    """
    return _run(name, [])


@click.command(
    "exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@_agent
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def execute(name: str, command: Sequence[str]) -> int:
    """Run a command in an agent's container, as its root.

    The command begins in /state, and ends with the connection. The exit code is that of the
    command: 127 if there is no such command. If standard input and standard output are a terminal,
    the command gets one, too; otherwise it gets pipes. A -- before the command has no effect.
    Without a terminal of its own, the command gets Ctrl-C and the signal to end; a second Ctrl-C,
    or 10 s after the signal, ends it.
    """
    words = command[1:] if command[0] == "--" else command
    if not words:
        raise CommandError(Exit.USAGE, f"Name a command: hivectl exec {name} COMMAND.")
    return _run(name, words)


def _run(name: str, words: Sequence[str]) -> int:
    from hivectl.host import execute as host

    command = _connected(name)
    try:
        if sys.stdin.isatty() and sys.stdout.isatty():
            command.start(words, os.environ.get("TERM") or "dumb")
            with host.raw_terminal(command):
                command.feed(0)
                return command.run(_to(1), _to(2))
        command.start(words or ["/bin/sh"])
        command.feed(0)
        output, errors = _Printed(sys.stdout), _Printed(sys.stderr)
        with host.passed_signals(command):
            try:
                return command.run(output.write, errors.write)
            finally:
                output.end()
                errors.end()
    finally:
        command.close()


def _connected(name: str) -> "Command":
    """Return a new command in the container of an agent.

    Raises:
        HiveError: there is no such agent, or it runs no commands now.
    """
    import asyncio

    from hivectl.host.execute import Command
    from wire.errors import Unavailable
    from wire.web_socket import connect_exec

    garbage.collect()
    try:
        return Command(connect_exec(name), name)
    except Unavailable as error:
        raise asyncio.run(_explained(name, error)) from None


async def _explained(name: str, error: "HiveError") -> "HiveError":
    """Return the reason why no commands are run, as far as lifecycle knows it."""
    from hivectl.clients.hive import Hive
    from wire.errors import HiveError, NotFound, Unavailable
    from wire.records.lifecycle import AgentState

    try:
        async with Hive.connect() as hive:
            agent = await hive.agents.get(name)
    except NotFound as missing:
        return missing
    except HiveError:
        return error
    if agent.state is AgentState.RUNNING:
        return error
    return Unavailable(f"{name} is {agent.state}. Start it: hivectl start {name}")


def _to(number: int) -> Write:
    """Return a function that writes bytes to a standard stream.

    Raises there:
        ReaderLeftError: the reader closed the pipe.
        CommandError: it cannot be written.
    """

    def write(data: bytes) -> None:
        try:
            while data:
                data = data[os.write(number, data) :]
        except BrokenPipeError:
            raise ReaderLeftError from None
        except OSError as error:
            raise CommandError(
                Exit.FAILED, f"The output cannot be written: {error.strerror}."
            ) from None

    return write


class _Printed:
    """A standard stream for the bytes of a container; a terminal gets them as harmless text."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._raw = None if stream.isatty() else _to(stream.fileno())
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""
        """The beginning of a word: whether it misleads is judged by the whole of it."""

    def write(self, data: bytes) -> None:
        """Write bytes, as `_to`."""
        if self._raw is not None:
            self._raw(data)
            return
        text = self._held + self._decoder.decode(data)
        end = max(text.rfind(space) for space in " \t\n") + 1
        end = max(end, len(text) - MAX_HELD)
        self._held = text[end:]
        self._print(text[:end])

    def end(self) -> None:
        """Write the rest."""
        if self._raw is None:
            self._print(self._held + self._decoder.decode(b"", final=True))

    def _print(self, text: str) -> None:
        self._stream.write(safe(text, multiline=True))
        self._stream.flush()


@click.command("copy-from")
@_agent
@click.argument("source", metavar="PATH")
@click.argument("target", metavar="[TARGET]", type=click.Path(path_type=Path), default=Path())
@click.option(FORCE, is_flag=True, help="Replace TARGET if it exists.")
@output_options
def copy_from(name: str, source: str, target: Path, force: bool) -> None:
    """Copy a file or directory out of an agent's container.

    PATH is relative to /state. TARGET is the new file or directory, or a directory in which it gets
    the name that it has. Links and special files are left out, and no file gets special
    permissions. A failure leaves nothing. The copy ends when the disk of TARGET is nearly full:
    when less than 5 % is free, and less than 1 GiB.

    The files are the agent's, and may do harm: git, for example, runs the programs that the
    configuration of a copied repository names.
    """
    from hivectl.host import archives

    output = Output()
    base = PurePosixPath(source).name
    if target.is_dir() and base in ("", ".."):
        raise CommandError(
            Exit.USAGE,
            f"{source} does not name the copy, and {target} is there: give the name of the copy as "
            "TARGET.",
        )
    place = target / base if target.is_dir() else target
    if os.path.lexists(place) and not force:
        raise CommandError(Exit.CONFLICT, f"{place} exists already; {FORCE} replaces it.")
    said = _Said(name)
    command = _connected(name)
    try:
        command.start(["/bin/sh", "-c", _PACK, "sh", source])
        command.end_input()
        output_file = command.output(said.add)
        stream = io.BufferedReader(output_file, CHUNK)

        def check() -> None:
            # The end of an archive is filled up; the end of the command comes after it.
            stream.read(MAX_REST)
            said.check(output_file.code)

        def skipped(what: str) -> None:
            _left_out(output, what)

        made = archives.unpack(stream, place, skipped, check, replace=force)
    finally:
        command.close()
    count = made.files
    what = "1 file" if count == 1 else f"{count} files"
    output.done(
        {
            "agent": name,
            "source": source,
            "target": str(place),
            "files": count,
            "repository": None if made.repository is None else str(place / made.repository),
        },
        [output.paint(f"{what} copied to {place}", "")],
    )
    if made.repository is not None:
        config = literal(str(place / made.repository / "config"))
        output.note(f"git runs the programs that {config} names: read it before you run git there.")


@click.command("copy-to")
@_agent
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path))
@click.argument("target", metavar="[PATH]", default="/state")
@click.option(FORCE, is_flag=True, help="Replace PATH if it exists.")
@output_options
def copy_to(name: str, source: Path, target: str, force: bool) -> None:
    """Copy a file or directory into an agent's container.

    PATH is the new file or directory, or a directory in which it gets the name that it has here; it
    is relative to /state, and /state by default. The copy belongs to the container's root. A
    failure leaves nothing.
    """
    from hivectl.host import archives

    output = Output()
    if not source.exists():
        raise CommandError(Exit.NOT_FOUND, f"{source} does not exist.")
    said = _Said(name)
    command = _connected(name)
    try:
        base = source.resolve().name if source.name in ("", "..") else source.name
        command.start(["/bin/sh", "-c", _UNPACK, "sh", target, base, "1" if force else "0"])
        ending = _Ending(command, said)
        try:
            with io.BufferedWriter(command.input(), CHUNK) as stream:
                archives.pack(source, stream, lambda what: _left_out(output, what))
        except (BrokenPipeError, ConnectionResetError):
            pass  # the container has ended it, and says why
        command.end_input()
        said.check(ending.wait())
    finally:
        command.close()
    output.done(
        {"agent": name, "source": str(source), "target": target},
        [output.paint(f"{source} copied to {target} of {name}", "")],
    )


class _Said:
    """The words of the container about a failure."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._text = b""

    def add(self, data: bytes) -> None:
        """Take output of the container."""
        self._text = (self._text + data)[:MAX_SAID]

    def check(self, code: int | None) -> None:
        """Raise the failure that the exit code tells.

        Raises:
            CommandError: the code is not 0.
        """
        if code == 0:
            return
        known = Exit(code) if code in (Exit.USAGE, Exit.NOT_FOUND, Exit.CONFLICT) else Exit.FAILED
        words = one_line(self._text.decode(errors="replace")) or f"it ended with status {code}"
        raise CommandError(known, f"The container of {self._name} says: {words}")


class _Ending:
    """The end of a command, waited for beside the work on its input."""

    def __init__(self, command: "Command", said: _Said) -> None:
        self._code: int | None = None
        self._error: CommandError | None = None
        self._thread = threading.Thread(target=self._run, args=(command, said), daemon=True)
        self._thread.start()

    def _run(self, command: "Command", said: _Said) -> None:
        try:
            self._code = command.run(said.add, said.add)
        except CommandError as error:
            self._error = error

    def wait(self) -> int | None:
        """Wait for the end; return the exit code.

        Raises:
            CommandError: the container ended the connection.
        """
        self._thread.join()
        if self._error:
            raise self._error
        return self._code


def _left_out(output: Output, what: str) -> None:
    output.note(f"left out: {literal(what)}")


COMMANDS = [shell, execute, copy_to, copy_from]
