"""A pager for output that does not fit the screen."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from typing import Final

VARIABLES: Final = ("HIVECTL_PAGER", "SYSTEMD_PAGER", "PAGER")
"""The variables that name the pager; the first that is set counts, empty or `cat` means none."""
DEFAULT: Final = "less"
OPTIONS: Final = "FRSXMK"
"""The options of less: those of journalctl."""


def command() -> list[str] | None:
    """Return the command line of the pager; None for none."""
    named = next((os.environ[name] for name in VARIABLES if name in os.environ), DEFAULT)
    try:
        line = shlex.split(named)
    except ValueError:
        return None
    if not line or line == ["cat"] or shutil.which(line[0]) is None:
        return None
    return line


def page(line: list[str], lines: Iterable[str]) -> bool:
    """Show lines in a pager until the operator leaves it.

    Args:
        line: the command line of the pager.
        lines: the lines, each without its newline. They may come slowly.

    Returns:
        False if the pager could not be started, and no line was read.
    """
    environment = {"LESS": OPTIONS, "LESSCHARSET": "utf-8", **os.environ}
    if "SUDO_UID" in os.environ:
        # less must give no shell of root to users who may run only hivectl as root.
        environment.setdefault("LESSSECURE", "1")
    try:
        process = subprocess.Popen(line, stdin=subprocess.PIPE, env=environment)
    except OSError:
        return False
    assert process.stdin is not None  # noqa: S101 - a pipe, as asked for
    # Ctrl-C is for the pager, which may use it to end a search.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with process.stdin as text:
            for one in lines:
                text.write(one.encode(errors="backslashreplace") + b"\n")
    except BrokenPipeError:
        pass  # the operator has left it early
    finally:
        process.wait()
        signal.signal(signal.SIGINT, before)
    return True


def rows() -> int:
    """Return the lines of the terminal; 0 if standard output, or input, is none."""
    if not (sys.stdout.isatty() and sys.stdin.isatty()):
        return 0
    return shutil.get_terminal_size().lines
