"""A turn as a file: whatever an agent wrote, the page has no element or script of the agent's."""

import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from wire.turn_export import html_page, json_lines
from wire.turn_export.page import POLICY

TURN: dict[str, Any] = {
    "id": 7,
    "started": 1_700_000_000.0,
    "outcome": "done",
    "model": "m",
    "seconds": 1.5,
    "woken_by": [{"id": 3, "from": "operator", "kind": "message"}],
    "tools": {"Bash": 2},
    "cost_usd": 0.25,
}
HOSTILE = (
    "</pre></details><script>alert(1)</script><img src=x onerror=alert(1)>"
    "\"'><style>*{}</style><meta http-equiv=refresh content='0;url=//evil'>\x00\x1b[31m\u202e\ud83d"
)
KINDS = [
    *("wake", "urgent", "text", "thinking", "tool-use", "tool-result", "session", "denied"),
    *("server-failed", "compacted", "note", "cancelled", "limit", "result", "turn-end", "state"),
    *("permission", "unheard-of", HOSTILE),
]
ALLOWED = {
    *("html", "head", "meta", "title", "style", "body", "h1", "p", "dl", "dt", "dd", "section"),
    *("header", "b", "span", "pre", "details", "summary"),
}


class Elements(HTMLParser):
    """The elements and attributes of a page, and the text in them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def event(kind: Any, **data: Any) -> dict[str, Any]:
    return {"seq": 5, "at": 1_700_000_001.5, "turn": 7, "type": kind, "data": data}


def test_a_page_tells_the_turn() -> None:
    edit = {"file_path": "/a", "old_string": "x", "new_string": "y"}
    events = [
        event("wake", messages=[], prompt="what is six times seven"),
        event("tool-use", id="t", tool="Bash", input={"command": "expr 6 \\* 7"}),
        event("tool-result", id="t", content="42", error=False),
        event("tool-use", tool="Edit", input=edit),
        event("tool-use", tool="Write", input={"file_path": "/b", "content": "one\ntwo"}),
        event("tool-use", tool="mcp__hive__send", input={"to": "bob", "body": "It is 42."}),
        event("text", text="Grüße, 日本語 \N{PARTY POPPER}"),
        event("note", text="careful", level="warning"),
    ]
    text = Elements(html_page("alice", TURN, events)).text
    for words in (
        "alice: turn 7",
        "message 3 of operator",
        "Bash 2",
        "2023-11-14 22:13:20+00:00",
        "expr 6 \\* 7",
        "42",
        "+1 -1",
        "- x\n+ y\n",
        "+ one\n+ two",
        "It is 42.",
        "Grüße, 日本語 \N{PARTY POPPER}",
        "careful",
        "+1.5 s",
    ):
        assert words in text, words


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_of_the_agent_becomes_markup(kind: str) -> None:
    hostile = dict.fromkeys(("text", "prompt", "content", "tool", "reason", "model"), HOSTILE)
    inner = {HOSTILE: HOSTILE, "command": HOSTILE, "file_path": HOSTILE}
    turn: dict[str, Any] = {**dict.fromkeys(TURN, HOSTILE), "tools": {HOSTILE: HOSTILE}}
    turn["woken_by"] = [{"id": HOSTILE, "from": HOSTILE, "kind": HOSTILE}]
    change = {"old_string": HOSTILE, "new_string": HOSTILE}
    inputs: list[Any] = [inner, [inner], HOSTILE, change]
    for given in inputs:
        page = html_page(HOSTILE, turn, [event(kind, **hostile, **{HOSTILE: given}, input=given)])
        page.encode()
        found = Elements(page)
        assert set(found.elements) <= ALLOWED
        assert found.elements.count("style") == 1
        assert found.elements.count("meta") == 4
        assert not [name for _, name, _ in found.attributes if name.startswith("on")]
        names = {name for _, name, _ in found.attributes}
        assert names <= {"lang", "charset", "http-equiv", "content", "name", "class", "open"}
        for character in "\x00\x1b\u202e\ud83d":
            assert character not in page
        assert "<U+202E>" in found.text


def test_the_policy_comes_first_and_allows_the_style_sheet_only() -> None:
    page = html_page("alice", TURN, [])
    assert page.index("Content-Security-Policy") < page.index("<title>") < page.index("<style>")
    assert POLICY.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in POLICY
    assert "style=" not in re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)


@pytest.mark.parametrize("value", [None, 5, "x", [], {}, [[1]], {"a": None}, True, 1e300])
def test_data_of_any_shape_are_shown(value: Any) -> None:
    deep: Any = value
    for _ in range(3000):
        deep = [deep]
    for kind in KINDS:
        odd: list[Any] = [
            {"type": kind, "data": value, "at": value, "seq": value},
            event(kind, text=value, prompt=value, content=value, input=value, tool=value),
            event(kind, text=deep, input=deep, content=deep),
        ]
        html_page("alice", dict.fromkeys(TURN, value), odd).encode()


@pytest.mark.parametrize("kind", [[], {}, ["tool-result"], 5, None, True])
def test_a_type_of_any_shape_is_shown(kind: Any) -> None:
    assert "some words" in html_page("alice", TURN, [event(kind, text="some words")])


def test_deep_values_are_named_so() -> None:
    deep: Any = []
    for _ in range(3000):
        deep = [deep]
    given: list[dict[str, Any]] = [
        {"woken_by": [{"id": deep, "from": deep, "kind": deep}]},
        {"tools": {"Bash": deep}},
        {"model": deep},
    ]
    for figures in given:
        assert "(too deep)" in html_page("alice", {**TURN, **figures}, [])
    first, second = json_lines("alice", {"id": deep}, [event("text", text=deep)])
    assert json.loads(first) == {"agent": "alice", "left_out": "too deep"}
    assert json.loads(second)["seq"] == 5


def test_a_long_text_is_cut_and_says_so() -> None:
    page = html_page("alice", TURN, [event("text", text="x" * 10**6)])
    assert len(page) < 400_000
    assert "[cut: 1000000 characters]" in page


def test_lines_of_json_are_ascii_and_complete() -> None:
    events = [event("text", text=HOSTILE + "\x7f"), event("note", text="two\nlines")]
    lines = list(json_lines("alice", TURN, events))
    assert all(line.isascii() and line[:-1].isprintable() and line[-1] == "\n" for line in lines)
    assert json.loads(lines[0]) == {"agent": "alice", "turn": TURN}
    assert [json.loads(line) for line in lines[1:]] == events
