"""The output of a command: JSON for programs, tables for people, progress on standard error."""

import os
import shutil
import sys
from collections.abc import Iterable, Sequence

import click

from hivectl.exit_codes import CommandError, Exit
from hivectl.output import pager, tables
from hivectl.output.json_forms import Json
from hivectl.output.preferences import Form, preferences
from hivectl.output.tables import Cell, Row
from hivectl.output.text import elide, literal, safe, width, wrap

__all__ = ["Cell", "Output", "Row", "confirm", "require_terminal", "state_cell"]

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
    "changes-requested": "cyan",
    "conflict": "red",
    "merged": "green",
    "published": "green",
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


MANY = 10**6
"""More lines than any field has."""


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
    import json

    return json.dumps(value, indent=indent).replace("\x7f", "\\u007f")


class Output:
    """Standard output and standard error of one command.

    With `as_json`, standard output is one JSON value and nothing else.
    """

    as_json: bool
    colour: bool
    columns: int | None
    """The width of the terminal; None if stdout is not a terminal, so that nothing is cut."""

    def __init__(self) -> None:
        wanted = preferences()
        terminal = sys.stdout.isatty()
        dumb = os.environ.get("TERM", "") == "dumb" or bool(os.environ.get("NO_COLOR"))
        self.as_json = wanted.form is not Form.SHORT
        self.colour = terminal and not dumb
        self.columns = shutil.get_terminal_size().columns if terminal else None
        self.legend = wanted.legend
        self.quiet = wanted.quiet
        self._indent = 2 if wanted.form is Form.JSON_PRETTY else None
        self._pages = wanted.pager

    def show(self, value: Json, lines: Iterable[str]) -> None:
        """Print `value` as JSON, or `lines` (which must be safe) for people, and flush.

        Lines that do not fit the screen go through the pager.

        Raises:
            ReaderLeftError: the reader of standard output closed the pipe.
        """
        if self.as_json:
            self._print([_json(value, self._indent)])
        else:
            self.show_lines(list(lines))

    def done(self, value: Json, lines: Iterable[str]) -> None:
        """Print what was done, as `show` does; with --quiet, nothing."""
        if self.as_json or not self.quiet:
            self.show(value, lines)

    def show_next(self, value: Json, lines: Iterable[str]) -> None:
        """Print one of many values as a line of JSON, or `lines`; see `show`."""
        self._print([_json(value)] if self.as_json else lines)

    def show_lines(self, lines: list[str]) -> None:
        """Print lines, which must be safe; through the pager if they do not fit the screen."""
        program = pager.command() if self._pages and 0 < pager.rows() <= len(lines) else None
        if program is None or not pager.page(program, lines):
            self._print(lines)

    def _print(self, lines: Iterable[str]) -> None:
        for line in lines:
            print(line)
        sys.stdout.flush()

    def note(self, sentence: str) -> None:
        """Print a sentence that is not part of the result to stderr, for people."""
        if not self.as_json and not self.quiet:
            print(safe(sentence), file=sys.stderr, flush=True)

    def explain(self, lines: Iterable[str], *, always: bool) -> None:
        """Print lines to stderr: for people, or `always`, such as before a question."""
        if always or not (self.as_json or self.quiet):
            print(*map(safe, lines), sep="\n", file=sys.stderr, flush=True)

    def explain_diff(self, diff: str, *, always: bool) -> None:
        """Print a diff to stderr, as `explain`."""
        if always or not (self.as_json or self.quiet):
            print(*self.diff(diff), sep="\n", file=sys.stderr, flush=True)

    def progress(self, sentence: str) -> None:
        """Print a sentence about the progress to stderr."""
        self.note(sentence)

    def job_lines(self, lines: Iterable[str]) -> None:
        """Print lines that a job prints to stderr, indented: they may be an agent's."""
        for line in lines:
            for piece in self.indented(line):
                self.note(piece)

    def paint(self, text: str, colour: str) -> str:
        """Return `text` made safe, in `colour` if colours are on."""
        return self._painted(safe(text), colour)

    def _painted(self, shown: str, colour: str) -> str:
        """Return `shown`, which must be safe, in `colour` if colours are on."""
        return f"\x1b[{_COLOURS[colour]}m{shown}\x1b[0m" if self.colour and colour else shown

    def table(
        self,
        headers: Sequence[str],
        rows: Sequence[Row],
        *,
        optional: Sequence[str] = (),
        whole: bool = False,
        most: int = 1,
        indent: int = 0,
    ) -> list[str]:
        """Return the aligned lines of a table that fits the terminal's width.

        The widest fields are cut if there is no room for the last one. If there still is too
        little, the last field stands below the others.

        Args:
            headers: the titles of the fields.
            rows: the fields of each row.
            optional: the titles of fields that may be left out, the least important first.
            whole: the last field is never cut.
            most: the lines of the last field, after which it is cut.
            indent: the columns of the terminal that others use, before each line.
        """
        if not rows:
            return []
        cells = tables.cells_of(headers, rows)
        if self.columns is None:
            shown, widths, below = cells, tables.widths_of(cells), False
        else:
            columns = self.columns - indent
            shown = tables.without(cells, optional, columns)
            widths, below = tables.fitted(shown, columns, whole=whole)
        shown = shown if self.legend else shown[1:]
        if below:
            lines = MANY if whole else max(most, 2)
            return [line for row in shown for line in self._two_lines(row, widths, lines, indent)]
        return [line for row in shown for line in self._lines(row, widths, most)]

    def _lines(self, row: Sequence[Cell], widths: Sequence[int], most: int) -> list[str]:
        """Return a row whose last cell goes on in further lines."""
        last = row[-1]
        if most == 1 or last.right:
            return [self._row(row, widths)]
        first, *more = tables.pieces(safe(last.text), widths[-1], most)
        indent = " " * (sum(widths[:-1]) + tables.GAP * (len(widths) - 1))
        head = self._row([*row[:-1], last._replace(text=first)], widths)
        return [head, *(f"{indent}{self._painted(one, last.colour)}" for one in more)]

    def _row(self, row: Sequence[Cell], widths: Sequence[int]) -> str:
        parts = []
        for at, (cell, columns) in enumerate(zip(row, widths, strict=True)):
            text = elide(safe(cell.text), columns)
            fill = " " * (columns - width(text))
            painted = self._painted(text, cell.colour)
            last = at == len(row) - 1 and not cell.right
            parts.append(fill + painted if cell.right else painted + ("" if last else fill))
        return "  ".join(parts).rstrip()

    def _two_lines(
        self, row: Sequence[Cell], widths: Sequence[int], most: int, indent: int
    ) -> list[str]:
        """Return a row whose last cell, if it is not empty, is below the others."""
        first = self._row(row[:-1], widths[:-1])
        last = safe(row[-1].text).strip()
        room = max((self.columns or 0) - indent - 2, 10)
        shown = tables.pieces(last, room, most) if last else ()
        below = [f"  {self._painted(line, row[-1].colour)}" for line in shown]
        return [first, *below] if first.strip() else below

    def heading(self, text: str) -> list[str]:
        """Return the lines of a heading, in bold; what does not fit in one is indented."""
        shown = safe(text)
        if self.columns is None or width(shown) <= self.columns:
            return [self._painted(shown, "bold")]
        first = next(wrap(shown, self.columns))
        rest = wrap(shown[len(first) :].lstrip(" "), max(self.columns - 4, 10))
        return [self._painted(first, "bold"), *(f"    {self._painted(p, 'bold')}" for p in rest)]

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
