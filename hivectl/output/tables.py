"""Tables that fit the terminal."""

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, TypeAlias

from hivectl.output.text import elide, safe, width, wrap

GAP: Final = 2
LEAST_LAST: Final = 24
"""The columns of the last field from which on it stands beside the others."""
LEAST_SHRUNK: Final = 9
"""The least columns of a field that is shrunk: no name of an agent is cut."""

_NUMBER: Final = re.compile(r"[\d:. /-]*")


class Cell(NamedTuple):
    """One field of a table. `colour` is a key of the colour table, `right` aligns numbers."""

    text: str
    colour: str = ""
    right: bool = False


Row: TypeAlias = Sequence[Cell | str]
Cells: TypeAlias = list[list[Cell]]


def cells_of(headers: Sequence[str], rows: Sequence[Row]) -> Cells:
    """Return the cells of a table, the headers first."""
    cells = [[c if isinstance(c, Cell) else Cell(c) for c in row] for row in rows]
    head = [Cell(h, "bold", c.right) for h, c in zip(headers, cells[0], strict=True)]
    return [head, *cells]


def widths_of(cells: Cells) -> list[int]:
    """Return the columns that each field needs."""
    return [max(width(safe(row[i].text)) for row in cells) for i in range(len(cells[0]))]


def without(cells: Cells, optional: Sequence[str], columns: int) -> Cells:
    """Leave fields out until the last one has LEAST_LAST columns, or all `optional` are left out.

    Args:
        cells: the table.
        optional: the headers of the fields, the least important first.
        columns: the width of the terminal.
    """
    for header in optional:
        widths = widths_of(cells)
        if columns - _before(widths) >= min(widths[-1], LEAST_LAST):
            break
        at = [cell.text for cell in cells[0]].index(header)
        cells = [[*row[:at], *row[at + 1 :]] for row in cells]
    return cells


def fitted(cells: Cells, columns: int, *, whole: bool) -> tuple[list[int], bool]:
    """Fit a table to the width of the terminal: the widest fields shrink first.

    Args:
        cells: the table.
        columns: the width of the terminal.
        whole: the last field is not cut.

    Returns:
        The widths of the fields, and whether the last one stands below the others.
    """
    widths = widths_of(cells)
    needed = widths[-1] if whole else min(widths[-1], LEAST_LAST)
    if _before(widths) + needed > columns and not whole:
        widths[:-1] = _shrunk(widths[:-1], cells, columns - GAP - needed)
    if _before(widths) + needed <= columns:
        widths[-1] = min(widths[-1], columns - _before(widths))
        return widths, False
    return [*_shrunk(widths_of(cells)[:-1], cells, columns), columns], True


def _shrunk(widths: Sequence[int], cells: Cells, columns: int) -> list[int]:
    """Return the widths of fields that fit `columns` together, as far as they can be shrunk."""
    fit = list(widths)
    soft = [at for at in range(len(fit)) if not _is_firm([row[at] for row in cells[1:]])]
    while sum(fit) + GAP * (len(fit) - 1) > columns:
        widest = max(soft, key=lambda at: fit[at], default=None)
        if widest is None or fit[widest] <= LEAST_SHRUNK:
            break
        fit[widest] -= 1
    return fit


def _is_firm(cells: Sequence[Cell]) -> bool:
    """Return whether cut cells would say something else: numbers and times."""
    return all(cell.right or _NUMBER.fullmatch(cell.text) for cell in cells)


def pieces(text: str, columns: int, most: int) -> Iterator[str]:
    """Break `text` into at most `most` lines; the last one is cut."""
    rest = text
    for _ in range(most - 1):
        first = next(wrap(rest, columns))
        if first == rest:
            break
        yield first
        rest = rest[len(first) :].lstrip(" ")
    yield elide(rest, columns)


def _before(widths: Sequence[int]) -> int:
    """Return the columns before the last field."""
    return sum(widths[:-1]) + GAP * (len(widths) - 1)
