"""Messages and questions for people: as tables, or with their complete texts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from hivectl.output.formats import local_time, short_time
from hivectl.output.terminal import Cell, Output, Row, state_cell
from hivectl.output.text import one_line

if TYPE_CHECKING:
    from wire.records.broker import Message, Question

T = TypeVar("T")

_LEAD = 20
"""The columns that an excerpt shows before the word that was found."""


def excerpt(text: str, words: str, output: Output) -> str:
    """Return `text` as one line that begins near the first of `words`, if lines are cut."""
    line = one_line(text)
    if not words or output.columns is None:
        return line
    low = line.casefold()
    places = [low.find(word.strip('"*').casefold()) for word in words.split()]
    first = min((place for place in places if place >= 0), default=0)
    return line if first <= 2 * _LEAD else "…" + line[first - _LEAD :]


def message_table(messages: "list[Message]", output: Output, words: str = "") -> list[str]:
    """Return messages as a table; `words` are the words that were searched for."""
    headers = ["ID", "TIME", "FROM", "TO", "KIND", "STATE", "BODY"]
    rows: list[Row] = [
        [
            Cell(str(m.id), right=True),
            short_time(m.queued),
            m.sender,
            m.recipient,
            m.kind,
            state_cell(m.state),
            excerpt(m.body, words, output),
        ]
        for m in messages
    ]
    return output.table(headers, rows, optional=("KIND", "STATE"), most=3)


def message_lines(messages: "list[Message]", output: Output) -> list[str]:
    """Return messages with their complete bodies."""
    lines: list[str] = []
    for m in messages:
        head = f"{m.id} {local_time(m.queued)} {m.sender} to {m.recipient}, {m.kind}, {m.state}"
        head += f" (released last: {one_line(m.reason)})" if m.reason else ""
        lines += [*output.heading(head), *output.indented(m.body)]
    return lines


def question_table(
    found: "list[Question]", output: Output, words: str = "", *, open_only: bool = False
) -> list[str]:
    """Return questions as a table, with choices and answers in the lines below each."""
    headers = ["ID", "SINCE", "FROM", "TO", "DEADLINE", "STATE", "QUESTION"]
    rows: list[Row] = []
    for q in found:
        rows.append(
            [
                Cell(str(q.id), right=True),
                local_time(q.asked),
                q.asker,
                q.recipient,
                local_time(q.deadline),
                state_cell(q.state),
                excerpt(q.text, words, output),
            ]
        )
        below = [
            *(["one or more of:"] if q.multi else []),
            *_choices(q),
            *_rule(q),
            *_answer(q),
        ]
        rows += [[Cell("", right=True), "", "", "", "", "", f"  {line}"] for line in below]
    if open_only:
        headers, rows = _without(5, headers), [_without(5, row) for row in rows]
    return output.table(headers, rows)


def _without(column: int, row: Sequence[T]) -> list[T]:
    return [*row[:column], *row[column + 1 :]]


def _choices(q: "Question") -> list[str]:
    from wire.records.broker import have_numbers

    if q.choices and not have_numbers(q.choices):
        return ["a text, or:", *map(one_line, q.choices)]
    return [f"{at}  {one_line(choice)}" for at, choice in enumerate(q.choices, 1)]


def _rule(q: "Question") -> list[str]:
    if not q.rule:
        return []
    return [f"Always allow: adds {one_line(q.rule)} to allowed_tools of {q.asker}"]


def _answer(q: "Question") -> list[str]:
    if not q.answer:
        return []
    answer = ", ".join(one_line(text) for text in q.answer)
    return [f"answered by {q.answered_by} at {local_time(q.resolved)}: {answer}"]


def question_lines(found: "list[Question]", output: Output) -> list[str]:
    """Return questions with their complete texts."""
    lines: list[str] = []
    for q in found:
        head = f"{q.id} {local_time(q.asked)} {q.asker} asks {q.recipient}, {q.state}"
        if q.deadline and q.state == "open":
            head += f" until {local_time(q.deadline)}"
        lines += [*output.heading(head), *output.indented(q.text)]
        if q.choices:
            lines.append("  one or more of:" if q.multi else "  one of:")
        for below in [*_choices(q), *_rule(q), *_answer(q)]:
            lines += output.indented(below)
    return lines
