"""Harmless text, columns and times."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hivectl.output.formats import iso_time, local_time, short_time
from hivectl.output.terminal import Output
from hivectl.output.text import elide, literal, one_line, safe, width, wrap

anything = st.text(st.characters(codec=None, exclude_categories=()), max_size=200)


@given(anything)
def test_nothing_that_steers_a_terminal_gets_through(text: str) -> None:
    for char in safe(text):
        assert unicodedata.category(char) not in {"Cc", "Cs", "Zl", "Zp"}
        assert unicodedata.bidirectional(char) not in {
            *("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
        }
    for char in safe(text, multiline=True):
        assert char in "\n\t" or unicodedata.category(char) != "Cc"
    safe(text).encode()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("zwölf 日本 😀", "zwölf 日本 😀"),
        ("👩\u200d🔬", "👩\u200d🔬"),
        ("\x1b[31m", "<U+001B>[31m"),
        ("a\x9bb\x7f", "a<U+009B>b<U+007F>"),
        ("\u202egnp", "<U+202E>gnp"),
        ("\U000e0041", "<U+E0041>"),
        ("\u3164\ufe0f", "<U+3164><U+FE0F>"),
        ("p\u0430y", "p<U+0430>y"),
        ("https://cl\u0430ude.ai/", "https://xn--clude-5ve.ai/"),
        ("a\nb\tc", "a<U+000A>b<U+0009>c"),
    ],
)
def test_what_is_escaped_and_what_is_not(text: str, shown: str) -> None:
    assert safe(text) == shown


def test_identifiers_are_read_exactly() -> None:
    assert literal("\u0441\u043e\u0440\u0443…\n") == (
        "<U+0441><U+043E><U+0440><U+0443><U+2026><U+000A>"
    )
    assert literal("zwölf\n", multiline=True) == "zwölf\n"


def test_one_line_is_one_line() -> None:
    assert one_line(" a\r\n\tb\u2028c\x1b ") == "a b c<U+001B>"


@given(anything, st.integers(2, 40))
def test_wrapping_keeps_the_text_and_the_width(text: str, columns: int) -> None:
    line = safe(text)
    pieces = list(wrap(line, columns))
    assert "".join(pieces) == line
    assert all(width(piece) <= columns for piece in pieces)


def test_wrapping_prefers_spaces() -> None:
    assert list(wrap("one two three", 8)) == ["one two ", "three"]


@given(anything, st.integers(1, 40))
def test_eliding_keeps_the_width(text: str, columns: int) -> None:
    assert width(elide(safe(text), columns)) <= columns


def test_wide_characters_take_two_columns() -> None:
    assert width("日本") == 4
    assert width("e\u0301") == 1
    assert elide("日本語", 5) == "日本…"


def test_times() -> None:
    assert (local_time(0), iso_time(0)) == ("-", None)
    assert iso_time(1_700_000_000_000_007) == "2023-11-14T22:13:20.000007Z"


@pytest.mark.parametrize("seconds", [2**38, 2**40, 2**43, -(2**43)])
def test_a_time_that_no_calendar_shows(seconds: int) -> None:
    at = seconds * 1_000_000
    assert (local_time(at), short_time(at), iso_time(at)) == ("-", "-", None)


def test_columns_are_aligned_as_they_are_shown() -> None:
    rows = [["\x1b[31m", "one"], ["日本", "two"], ["", "three"]]
    assert Output().table(["A", "B"], rows) == [
        "A             B",
        "<U+001B>[31m  one",
        "日本          two",
        "              three",
    ]
