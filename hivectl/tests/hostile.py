"""A text that controls a terminal which shows it unescaped."""

import re

HOSTILE = "\x1b]0;owned\x07\x1b[2J\r\u202eevil\u2066 \x9b31m\n99 from operator at 12:00"

_STEERING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def assert_harmless(shown: str) -> None:
    """Assert that `shown` has no character that steers a terminal."""
    assert not _STEERING.search(shown)


def assert_indented(shown: str) -> None:
    """Assert that no line of HOSTILE begins a line of `shown`, as if it were another message."""
    assert not re.search("^99 from operator", shown, re.MULTILINE)
