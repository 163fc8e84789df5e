"""The account of the settings that a request changes."""

import pytest

from services import agentfile
from services.approvals.settings import account

TEXT = "prompt = '''\n# Be kind.\n{end}" + "# rule\n" * 40 + "nested = true\n# end '''\n"


def test_a_text_that_ends_early_shows_the_settings_behind_it() -> None:
    for end in ("", "'''\n"):
        agentfile.parse(TEXT.format(end=end))
    said = account(TEXT.format(end=""), TEXT.format(end="'''\n"))
    assert "\n  nested: not set -> true\n" in said
    assert ' characters) -> "# Be kind.\\n"\n' in said
    assert said.endswith("\n\n")


@pytest.mark.parametrize(
    "text",
    [
        'a = """\n\n\ndiff --git a/x b/x\n"""',
        '"x\\n\\ndiff --git a/x b/x" = 1',
        "d = 1979-05-27T07:32:00Z",
        "[a.b.c]\n[d]\ne = [1, {f = 2}]",
    ],
)
def test_no_value_looks_like_a_line_of_the_diff(text: str) -> None:
    title, *lines = account(None, text).removesuffix("\n\n").split("\n")
    assert title.endswith(":")
    assert lines
    assert all(line.startswith("  ") and ": not set -> " in line for line in lines)


def test_comments_are_no_settings() -> None:
    assert account(None, agentfile.TEMPLATE) == ""
    assert account("a = 1\n", "# x\na = 1\n") == ""


def test_a_configuration_that_cannot_be_read_says_so() -> None:
    assert "cannot be compared" in account("a = ", "a = 1\n")
