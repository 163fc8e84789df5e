"""The standard streams of the process: closed ones, and failures to write."""

import io
import os
import sys
from typing import Final

from hivectl.exit_codes import CommandError, Exit, ReaderLeftError

_STREAMS: Final = (0, 1, 2)


class _Stdout(io.TextIOWrapper):
    """Standard output, whose failures end the command with one sentence."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as error:
            raise _failed(self, error) from None

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            raise _failed(self, error) from None


class _Stderr(io.TextIOWrapper):
    """Standard error. Nobody can be told that it cannot be written."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError:
            _discard(self)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError:
            _discard(self)


def prepare() -> None:
    """Make the standard streams ready: closed ones are opened, and failures are handled.

    Raises:
        CommandError: standard output is closed.
    """
    was_closed = sys.stdout is None
    for number in _STREAMS:
        _occupy(number)
    sys.stdin = sys.stdin or os.fdopen(0, "r", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)
    sys.stderr = _replaced(sys.stderr, _Stderr)
    if was_closed:
        raise CommandError(Exit.FAILED, "Standard output is closed. Nothing was done.")
    sys.stdout = _replaced(sys.stdout, _Stdout)


def _occupy(number: int) -> None:
    """Open /dev/null as a closed stream: the next file, or socket, would get its number."""
    try:
        os.fstat(number)
    except OSError:
        os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _replaced(stream: object, by: type[io.TextIOWrapper]) -> io.TextIOWrapper:
    """Return `stream` as one of the class `by`; characters that the locale cannot encode are
    spelled out."""
    assert isinstance(stream, io.TextIOWrapper)  # noqa: S101 - what Python makes
    if type(stream) is not io.TextIOWrapper:
        stream.reconfigure(errors="backslashreplace")  # one of a test
        return stream
    # Not stream.detach(): shutil.get_terminal_size() asks sys.__stdout__ for its terminal.
    binary = open(stream.fileno(), "wb", closefd=False)  # noqa: SIM115 - open until the end
    return by(
        *(binary, stream.encoding), errors="backslashreplace", line_buffering=stream.line_buffering
    )


def _failed(stream: io.TextIOWrapper, error: OSError) -> Exception:
    """Return the failure to write standard output, of which no more is written."""
    _discard(stream)
    if isinstance(error, BrokenPipeError):
        return ReaderLeftError()
    return CommandError(Exit.FAILED, f"Standard output cannot be written: {error.strerror}.")


def _discard(stream: io.TextIOWrapper) -> None:
    """Have all that is left of the output of a stream discarded.

    The interpreter flushes once more when it exits, and would report the error.
    """
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
