"""Run journalctl, and print its lines with what a container wrote spelled out.

journalctl itself replaces control characters only.
"""

import ctypes
import json
import signal
import subprocess
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import IO, Final

from hivectl.exit_codes import CommandError, Exit
from hivectl.host.journal_reader import UNCHANGED, Reader
from hivectl.output import pager
from hivectl.output.preferences import preferences
from hivectl.output.text import safe

_PR_SET_PDEATHSIG: Final = 1


def show(
    command: Sequence[str],
    *,
    as_json: bool,
    follow: bool,
    inherited: Collection[int] = (),
    reader: Reader = UNCHANGED,
) -> int:
    """Run a journalctl command, and print its output: through a pager if journalctl would use one.

    Args:
        command: the command line.
        as_json: the output is JSON; it stays JSON, in ASCII.
        follow: the command does not end by itself.
        inherited: the descriptors that the command gets.
        reader: the user as whom it runs.

    Returns:
        The exit status of journalctl.

    Raises:
        CommandError: journalctl could not be started.
        ReaderLeftError: the reader of standard output closed the pipe.
    """
    try:
        # A journalctl that follows notices only with its next line that nobody reads any more.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            pass_fds=tuple(inherited),
            preexec_fn=_end_with_parent,
            user=reader.user,
            group=reader.user,
            extra_groups=reader.groups,
        )
    except OSError as error:
        raise CommandError(Exit.FAILED, f"journalctl could not be started: {error}.") from error
    assert process.stdout is not None  # noqa: S101 - a pipe, as asked for
    lines = shown(process.stdout, as_json=as_json)
    paged = preferences().pager and pager.rows() and not follow and not as_json
    program = pager.command() if paged else None
    try:
        if program is None or not pager.page(program, lines):
            for line in lines:
                print(line, flush=True)
        if process.stdout.read(1):
            process.kill()  # the reader left the pager early
            return Exit.OK
        return process.wait()
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def shown(output: IO[bytes] | Iterable[bytes], *, as_json: bool) -> Iterator[str]:
    """Yield the lines of `output`, without their newlines, as they may be shown."""
    for line in output:
        text = line.decode(errors="replace").removesuffix("\n")
        yield _ascii_json(text) if as_json else safe(text, multiline=True)


def _ascii_json(text: str) -> str:
    """Return JSON in ASCII: other characters stand in its strings only."""
    return "".join(c if " " <= c <= "~" else json.dumps(c)[1:-1] for c in text)
