"""The output of a command: JSON for programs, tables for people, progress on a terminal."""

import json
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias

import click

from hivectl.exit_codes import CommandError, Exit, ReaderLeftError
from hivectl.output.json_forms import Json
from hivectl.output.text import elide, literal, safe, width, wrap

_COLOURS = {"red": 31, "green": 32, "yellow": 33, "cyan": 36, "bold": 1, "dim": 2}

STATE_COLOURS = {
    "running": "green",
    "deployed": "green",
    "ready": "green",
    "fetching": "cyan",
    "removing": "yellow",
    "answered": "green",
    "done": "green",
    "thinking": "cyan",
    "compacting": "cyan",
    "waiting": "yellow",
    "rate-limited": "yellow",
    "held": "yellow",
    "harness-away": "red",
    "starting": "yellow",
    "stopping": "yellow",
    "paused": "yellow",
    "pending": "yellow",
    "warned": "yellow",
    "lifted": "yellow",
    "once": "yellow",
    "open": "yellow",
    "approved": "yellow",
    "building": "yellow",
    "needs-login": "yellow",
    "failed": "red",
    "exhausted": "red",
    "refused": "red",
    "broken": "red",
    "lost": "red",
    "denied": "red",
    "error": "red",
    "timeout": "red",
    "dead": "red",
    "expired": "red",
    "stopped": "dim",
    "sleeping": "dim",
    "offline": "dim",
    "no-report": "yellow",
    "cancelled": "dim",
    "dropped": "dim",
    "retracted": "dim",
    "superseded": "dim",
    "withdrawn": "dim",
}


STATE_WORDS = {"no-report": "no report yet"}
"""The states that people read in other words, which are those of the dashboard."""


class Cell(NamedTuple):
    """One field of a table. `colour` is a key of the colour table, `right` aligns numbers."""

    text: str
    colour: str = ""
    right: bool = False


Row: TypeAlias = Sequence[Cell | str]


def require_terminal(verb: str, remedy: str = "Give --yes.") -> None:
    """Check that a question can be answered.

    Args:
        verb: the command that asks.
        remedy: the sentence about the option that makes the question unnecessary.

    Raises:
        CommandError: there is no terminal.
    """
    if not sys.stdin.isatty():
        raise CommandError(
            Exit.USAGE, f"{verb} asks for confirmation, and there is no terminal. {remedy}"
        )


def confirm(question: str, verb: str) -> None:
    """Ask for confirmation on the terminal.

    Args:
        question: the question to ask.
        verb: the command that asks.

    Raises:
        CommandError: the answer is no, or there is no terminal.
    """
    require_terminal(verb)
    if not click.confirm(question, err=True):
        raise CommandError(Exit.FAILED, "Nothing was done.")


def state_cell(state: str) -> Cell:
    """Return a cell with a state in words and in its colour."""
    return Cell(STATE_WORDS.get(state, state), STATE_COLOURS.get(state, ""))


def _diff_colour(line: str) -> str:
    if line.startswith(("diff ", "+++ ", "--- ")):
        return "bold"
    return {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")


def _json(value: Json, indent: int | None = None) -> str:
    # ASCII only: no hidden or misleading character of an agent may reach a terminal.
    return json.dumps(value, indent=indent).replace("\x7f", "\\u007f")


class Output:
    """Standard output and standard error of one command.

    With `as_json`, standard output is one JSON value and nothing else.
    """

    as_json: bool
    colour: bool
    columns: int | None
    """The width of the terminal; None if stdout is not a terminal, so that nothing is cut."""

    def __init__(self, *, as_json: bool) -> None:
        terminal = sys.stdout.isatty()
        dumb = os.environ.get("TERM", "") == "dumb" or bool(os.environ.get("NO_COLOR"))
        self.as_json = as_json
        self.colour = terminal and not dumb
        self.columns = shutil.get_terminal_size().columns if terminal else None

    def show(self, value: Json, lines: Iterable[str]) -> None:
        """Print `value` as JSON, or `lines` (which must be safe) for people, and flush.

        Raises:
            ReaderLeftError: the reader of standard output closed the pipe.
        """
        self._print([_json(value, indent=2)] if self.as_json else lines)

    def show_next(self, value: Json, lines: Iterable[str]) -> None:
        """Print one of many values as a line of JSON, or `lines`; see `show`."""
        self._print([_json(value)] if self.as_json else lines)

    def _print(self, lines: Iterable[str]) -> None:
        try:
            for line in lines:
                print(line)
            sys.stdout.flush()
        except BrokenPipeError:
            # The interpreter flushes once more when it exits, and would report the error.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise ReaderLeftError from None

    def note(self, sentence: str) -> None:
        """Print a sentence that is not part of the result to stderr, for people."""
        if not self.as_json:
            print(safe(sentence), file=sys.stderr, flush=True)

    def explain(self, lines: Iterable[str], *, always: bool) -> None:
        """Print lines to stderr: for people, or `always`, such as before a question."""
        if always or not self.as_json:
            print(*map(safe, lines), sep="\n", file=sys.stderr, flush=True)

    def explain_diff(self, diff: str, *, always: bool) -> None:
        """Print a diff to stderr, as `explain`."""
        if always or not self.as_json:
            print(*self.diff(diff), sep="\n", file=sys.stderr, flush=True)

    def progress(self, sentence: str) -> None:
        """Print a sentence about the progress to stderr, if that is a terminal."""
        if sys.stderr.isatty():
            print(safe(sentence), file=sys.stderr, flush=True)

    def paint(self, text: str, colour: str) -> str:
        """Return `text` made safe, in `colour` if colours are on."""
        return self._painted(safe(text), colour)

    def _painted(self, shown: str, colour: str) -> str:
        """Return `shown`, which must be safe, in `colour` if colours are on."""
        return f"\x1b[{_COLOURS[colour]}m{shown}\x1b[0m" if self.colour and colour else shown

    def table(
        self, headers: Sequence[str], rows: Sequence[Row], *, whole: bool = False
    ) -> list[str]:
        """Return the aligned lines of a table; the last column is cut to the terminal's width.

        With `whole`, the last column has lines of its own where it would be cut otherwise.
        """
        if not rows:
            return []
        cells = [[c if isinstance(c, Cell) else Cell(c) for c in row] for row in rows]
        cells.insert(0, [Cell(h, "bold", c.right) for h, c in zip(headers, cells[0], strict=True)])
        widths = [max(width(safe(row[i].text)) for row in cells) for i in range(len(headers))]
        if self.columns is not None:
            before = sum(widths[:-1]) + 2 * (len(widths) - 1)
            if whole and before + widths[-1] > self.columns:
                return [line for row in cells for line in self._two_lines(row, widths)]
            widths[-1] = min(widths[-1], max(self.columns - before, 8))
        return [self._row(row, widths) for row in cells]

    def _row(self, row: Sequence[Cell], widths: Sequence[int]) -> str:
        parts = []
        for at, (cell, columns) in enumerate(zip(row, widths, strict=True)):
            text = elide(safe(cell.text), columns)
            fill = " " * (columns - width(text))
            painted = self._painted(text, cell.colour)
            last = at == len(row) - 1 and not cell.right
            parts.append(fill + painted if cell.right else painted + ("" if last else fill))
        return "  ".join(parts).rstrip()

    def _two_lines(self, row: Sequence[Cell], widths: Sequence[int]) -> list[str]:
        """Return a row whose last cell, if it is not empty, is below the others."""
        first = self._row(row[:-1], widths[:-1])
        last = safe(row[-1].text).strip()
        room = max((self.columns or 0) - 2, 10)
        below = [f"  {self._painted(line, row[-1].colour)}" for line in wrap(last, room) if line]
        return [first, *below] if first.strip() else below

    def plain(self, text: str) -> list[str]:
        """Return the safe lines of `text`, for output that consists of `text` only."""
        return safe(text, multiline=True).split("\n")

    def diff(self, text: str) -> list[str]:
        """Return the lines of a unified diff, coloured by their first characters."""
        # Only a newline ends a line: with other line breaks a file could fake lines of the diff.
        # A long line could as well, where the terminal wraps it to the left edge.
        shown = literal(text, multiline=True).removesuffix("\n")
        lines = shown.split("\n") if text else []
        return [
            self._painted(piece, _diff_colour(line))
            for line in lines
            for piece in self._folded(line.expandtabs())
        ]

    def _folded(self, line: str) -> list[str]:
        """Break the safe `line` into pieces that fit; all but the first begin with an ellipsis."""
        if self.columns is None or width(line) <= self.columns:
            return [line]
        first, *rest = wrap(line, max(self.columns - 2, 10))
        return [first, *(f"… {piece}" for piece in rest)]

    def indented(self, text: str) -> list[str]:
        """Return `text` of an agent, indented and wrapped.

        No line begins at the left edge: a body could look like another message otherwise.
        """
        lines = safe(text, multiline=True).expandtabs().split("\n")
        if self.columns is None:
            return [f"  {line}".rstrip() for line in lines]
        room = max(self.columns - 2, 10)
        return [f"  {piece}".rstrip() for line in lines for piece in wrap(line, room)]
