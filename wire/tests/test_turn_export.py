"""A turn as a file: whatever an agent wrote, the page has no element or script of the agent's."""

import asyncio
import json
import re
import time
import tracemalloc
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from wire.agent_web import client as web_client
from wire.agent_web.tests.fake_web import FakeWeb, client
from wire.agent_web.tests.fake_web import event as an_event
from wire.errors import LimitExceeded, NotFound, Unavailable
from wire.turn_export import Export, Form, file_name
from wire.turn_export import page as page_module
from wire.turn_export.lines import JsonLines
from wire.turn_export.page import POLICY, HtmlPage

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


def html_page(agent: str, turn: dict[str, Any], events: list[dict[str, Any]]) -> str:
    page = HtmlPage()
    return page.head(agent, turn) + "".join(map(page.event, events)) + page.end("")


def json_lines(agent: str, turn: dict[str, Any], events: list[dict[str, Any]]) -> list[str]:
    lines = JsonLines()
    assert lines.end("") == ""
    return [lines.head(agent, turn), *map(lines.event, events)]


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


def test_numbers_that_json_lacks_are_null() -> None:
    lines = json_lines("alice", {"id": float("nan")}, [event("note", text=[float("inf"), 1.5])])
    assert json.loads(lines[0]) == {"agent": "alice", "turn": {"id": None}}
    assert json.loads(lines[1])["data"] == {"text": [None, 1.5]}


@pytest.fixture
async def fake(tmp_path: Path) -> AsyncIterator[FakeWeb]:
    async with FakeWeb().serve(tmp_path) as made:
        made.turns = [{**TURN}]
        yield made


async def exported(export: Export) -> str:
    return "".join([piece async for piece in export.pieces()])


@pytest.mark.parametrize("form", Form)
async def test_a_turn_of_any_length_is_exported_whole(
    fake: FakeWeb, tmp_path: Path, form: Form
) -> None:
    await fake.add(*(an_event(n, "text", turn=n % 2 + 6, text=f"<{n}>") for n in range(1, 42_000)))
    export = Export(client(tmp_path), "alice", 7, form)
    text = await exported(export)
    assert (export.events, export.left_out) == (21_000, "")
    assert export.file_name == file_name("alice", 7, form) == f"alice-turn-7.{form}"
    if form is Form.JSONL:
        head, *lines = map(json.loads, text.splitlines())
        assert head == {"agent": "alice", "turn": TURN}
        assert [line["seq"] for line in lines] == list(range(1, 42_000, 2))
    else:
        assert [f"&lt;{n}&gt;" in text for n in (1, 2, 41_999)] == [True, False, True]
        assert text.endswith("</body></html>\n")


@pytest.mark.parametrize("form", Form)
async def test_an_export_needs_the_memory_of_a_page(
    fake: FakeWeb, tmp_path: Path, form: Form
) -> None:
    await fake.add(*(an_event(n, "text", turn=7, text="x" * 12_000) for n in range(1, 3501)))
    export = Export(client(tmp_path), "alice", 7, form)
    size = 0
    tracemalloc.start()
    try:
        async for piece in export.pieces():
            size += len(piece)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size > 40_000_000
    # The fake server makes each page as text and as bytes, in this process.
    assert most < 60_000_000


async def test_an_export_that_is_too_long_says_what_is_left_out(
    fake: FakeWeb, tmp_path: Path
) -> None:
    await fake.add(*(an_event(n, "text", turn=7, text="x" * 2000) for n in range(1, 1001)))
    for form in Form:
        export = Export(client(tmp_path), "alice", 7, form, most=2**20)
        text = await exported(export)
        assert 400 < export.events < 600
        assert "The turn has more events. This export ends after" in export.left_out
        assert export.left_out in text.splitlines()[-1 if form is Form.JSONL else -2]


async def test_an_export_of_no_turn_and_of_a_hostile_harness(fake: FakeWeb, tmp_path: Path) -> None:
    export = Export(client(tmp_path), "alice", 9, Form.JSONL)
    with pytest.raises(NotFound):
        await exported(export)
    with pytest.raises(NotFound, match="no events of turn 7"):
        await exported(Export(client(tmp_path), "alice", 7, Form.HTML))
    page = {"id": 7, "events": [an_event(3, "text", turn=7, text="x")]}
    fake.raw = b"HTTP/1.0 200 OK\r\n\r\n" + json.dumps(page).encode()
    with pytest.raises(Unavailable, match="sent an answer that is not valid"):
        await exported(Export(client(tmp_path), "alice", 7, Form.JSONL))


async def test_pages_without_an_end_end(
    fake: FakeWeb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_client, "MAX_PAGES", 3)
    monkeypatch.setattr(web_client, "PAGE", 1)
    await fake.add(*(an_event(n, "text", turn=7, text="x") for n in range(1, 10)))
    with pytest.raises(LimitExceeded, match="without an end"):
        await exported(Export(client(tmp_path), "alice", 7, Form.JSONL))


def test_all_texts_of_an_event_and_of_the_figures_are_bounded_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(page_module, "MAX_TOGETHER", 10_000, raising=False)
    hidden = "\u202e" * 1000
    edits = [{"old_string": hidden, "new_string": f"{n}"} for n in range(50)]
    many = event("tool-use", tool="Edit", input={"file_path": "/a", "edits": edits})
    odd = event("unheard-of", **{f"{n}{hidden}": "x" for n in range(50)})
    figures = {**TURN, **dict.fromkeys(("model", "session", "error", "outcome"), hidden * 5)}
    for page in (
        html_page("alice", TURN, [many]),
        html_page("alice", TURN, [odd]),
        html_page("alice", figures, []),
    ):
        assert 9_000 < page.count("&lt;U+202E&gt;") <= 10_000
        assert "[cut: " in page


@pytest.mark.long
async def test_others_go_on_while_a_hostile_event_is_exported(
    fake: FakeWeb, tmp_path: Path
) -> None:
    pair = {"old_string": "a\ufe0f" * 1500, "new_string": "b\ufe0f" * 1500}
    hostile = {"file_path": "/a", "edits": [pair] * 100}
    await fake.add(an_event(1, "tool-use", turn=7, tool="Edit", input=hostile))
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.01)
            longest = max(longest, time.monotonic() - began)

    watching = asyncio.create_task(watch())
    text = await exported(Export(client(tmp_path), "alice", 7, Form.HTML))
    watching.cancel()
    assert "&lt;U+FE0F&gt;" in text
    assert longest < 2, "all of it takes several seconds"
