"""Markdown becomes roff that shows the same text, whatever is in it."""

import shutil
import subprocess

import pytest

from man.roff import escape, page

HEAD = "% X(7) | Manual | 2026-11-29\n"


def body(markdown: str) -> list[str]:
    """The lines of the page below its head."""
    lines = page(HEAD + markdown, "1.2").splitlines()
    assert lines[0] == '.TH "X" "7" "2026-11-29" "Hyperhive 1.2" "Manual"'
    return lines[4:]


@pytest.mark.parametrize(
    ("markdown", "roff"),
    [
        ("# NAME", ['.SH "NAME"']),
        ("## [a]", ['.SS "[a]"']),
        ("One.\nTwo\n\nThree", ["One.", "Two", ".PP", "Three"]),
        (".hidden\n\n'quote", ["\\&.hidden", ".PP", "\\&'quote"]),
        ("**a-b** *C* `d-e'f` g-h", ["\\fBa\\-b\\fP \\fIC\\fP \\fBd\\-e\\(aqf\\fP g-h"]),
        ("a \\* b \\` c", ["a * b ` c"]),
        ("`a\\n`", ["\\fBa\\en\\fP"]),
        ("- one\n  more\n- two", [".IP \\(bu 2", "one more", ".IP \\(bu 2", "two"]),
        ("x\n\n    .a\n      b", ["x", ".PP", ".RS 4", ".EX", "\\&.a", "  b", ".EE", ".RE"]),
        ("a\n:   b\n\nc", [".TP", "a", "b", ".PP", "c"]),
        ("a\n:   b\n\n    c\n    :   d", [".TP", "a", "b", ".RS", ".TP", "c", "d", ".RE"]),
    ],
)
def test_blocks_and_inline_markup(markdown: str, roff: list[str]) -> None:
    assert body(markdown) == roff


def test_long_lines_are_filled_at_spaces_only() -> None:
    lines = body("word-and-word " * 20)
    assert all(len(line) <= 80 for line in lines)
    assert " ".join(lines) == ("word-and-word " * 20).strip()


def test_escaped_text_is_shown_as_it_is() -> None:
    assert body(escape("a * b * c \\ `d * e`")) == ["a * b * c \\e \\fBd * e\\fP"]


def test_a_page_without_a_title_is_refused() -> None:
    with pytest.raises(ValueError, match="is not a title"):
        page("# NAME\n", "1.2")


@pytest.mark.skipif(not shutil.which("mandoc"), reason="mandoc is not installed")
def test_a_reader_sees_the_text() -> None:
    text = page(f"{HEAD}# NAME\n\nx - `it's` a \\* *B*\n\n    .TH \\\\ ~\n", "1.2")
    shown = subprocess.run(["mandoc", "-T", "ascii"], input=text, capture_output=True, text=True)
    plain = subprocess.run(["col", "-bx"], input=shown.stdout, capture_output=True, text=True)
    assert "x - it's a * B" in plain.stdout
    assert ".TH \\\\ ~" in plain.stdout
