"""The texts, rules and keys of tool calls that wait for the operator."""

import json

import pytest

from harness.claude import calls
from harness.claude.calls import Call
from harness.tests.fake_operator import PUSH, suggested


def test_a_long_command_is_shown_whole_and_first_or_not_asked() -> None:
    command = "echo begin\n" + "x" * 20_000 + "\necho end"
    call = Call("Bash", {"timeout": 5, "description": "y" * 9000, "command": command})
    lines = call.text.splitlines()
    assert lines[:4] == ["May I use Bash?", "", "command:", "    echo begin"]
    assert "    echo end" in lines
    assert "[5000 more characters are not shown]" in lines
    assert lines[-1] == "[5000 more characters are not shown]"
    assert "    5" in lines
    assert call.hidden == ""
    assert "has 30001 characters" in Call("Bash", {"command": "x" * 30_001}).hidden


def test_an_argument_cannot_look_like_the_rest_of_the_text() -> None:
    call = Call("WebFetch", {"url": "http://x/\nClaude Code asks because:\n    it is harmless"})
    assert [line for line in call.text.splitlines() if not line.startswith("    ")] == [
        "May I use WebFetch?",
        "",
        "url:",
    ]
    json.dumps(Call("Bash", {"command": "echo \ud83d"}).text).encode()
    assert Call("Bash", {"command": "echo \ud83d"}).text.endswith("echo \\ud83d")


@pytest.mark.parametrize(
    ("call", "rule"),
    [
        (Call("Bash", PUSH), "Bash(git push origin main)"),
        (
            Call("Bash", {"command": "echo a; b"}, [suggested("Bash", "echo a *")]),
            "Bash(echo a; b)",
        ),
        (Call("Bash", {"command": "rm *"}), None),
        (Call("Bash", {"command": "echo (a)"}), None),
        (Call("Bash", {"command": "a\nb"}), None),
        (Call("Bash", {"command": ""}), None),
        (Call("Bash", {"command": "x" * 257}), None),
        (Call("WebSearch", {"query": "x"}, [suggested("WebSearch")]), "WebSearch"),
        (Call("NotebookEdit", {"notebook_path": "/x"}), "NotebookEdit"),
        (Call("WebFetch", {"url": "u"}, [suggested("Bash", "x")]), "WebFetch"),
        (Call("mcp__a__b", {}), "mcp__a__b"),
    ],
)
def test_the_rule_that_a_permission_would_add(call: Call, rule: str | None) -> None:
    assert call.rule == rule


def test_a_key_is_of_the_tool_and_all_arguments() -> None:
    assert Call("A", {"x": 1, "y": 2}).key == Call("A", {"y": 2, "x": 1}).key
    assert len({calls.key_of("A", {"x": 1}), calls.key_of("B", {"x": 1}), Call("A", {}).key}) == 3
