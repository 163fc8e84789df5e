"""The rows of an agent's events, turns and days: checked, bounded, and shown as what they are."""

import json
import tracemalloc
from typing import Any

import pytest

from services.dashboard.state.agent.events import PREVIEW, WHOLE, event_row, partial_row
from services.dashboard.state.agent.turns import day_row, state_row, todo_rows, turn_row
from wire.agent_web import Day, Event, Partial, State, Turn
from wire.agent_web.records import Todo


def row(kind: str, limit: int = PREVIEW, **data: Any) -> dict[str, Any]:
    raw = {"seq": 7, "at": 1_780_000_000.5, "turn": 3, "type": kind, "data": data}
    found = event_row(Event.model_validate(raw), limit)
    json.dumps(found, allow_nan=False)
    return dict(found)


def use(tool: str, limit: int = PREVIEW, **arguments: Any) -> dict[str, Any]:
    return row("tool-use", limit, id="t1", tool=tool, input=arguments)


def test_a_row_has_the_number_the_time_and_the_turn() -> None:
    found = row("text", text="Hello")
    assert (found["seq"], found["at"], found["turn"], found["type"]) == (
        7,
        1_780_000_000_500_000,
        3,
        "text",
    )
    assert found["blocks"] == [
        {"kind": "text", "label": "", "text": "Hello", "length": 5, "lines": 1}
    ]
    assert found["cut"] is False


def test_bash_has_its_command_as_title_and_a_long_one_as_block() -> None:
    assert (use("Bash", command="ls -la")["title"], use("Bash", command="ls")["blocks"]) == (
        "ls -la",
        [],
    )
    found = use("Bash", command="make\nmake install")
    assert found["title"] == "make"
    assert found["blocks"][0]["text"] == "make\nmake install"


def test_edit_is_a_diff_with_counts_and_context() -> None:
    old = "a\nb\nc\nd\nold\ny\nz\n"
    new = "a\nb\nc\nd\nnew 1\nnew 2\ny\nz\n"
    found = use("Edit", file_path="/x.py", old_string=old, new_string=new)
    assert found["title"] == "/x.py"
    [diff] = found["blocks"]
    assert (diff["added"], diff["removed"], diff["more"]) == (2, 1, 0)
    assert [f"{line['sign']}{line['text']}" for line in diff["lines"]] == [
        " b",
        " c",
        " d",
        "-old",
        "+new 1",
        "+new 2",
        " y",
        " z",
    ]


def test_write_and_several_edits_are_diffs() -> None:
    [diff] = use("Write", file_path="/x", content="one\ntwo\n")["blocks"]
    assert (diff["added"], diff["removed"]) == (2, 0)
    edits = [{"old_string": "a", "new_string": "b"}, {"old_string": "c", "new_string": ""}]
    found = use("MultiEdit", file_path="/x", edits=edits)
    assert [(diff["added"], diff["removed"]) for diff in found["blocks"]] == [(1, 1), (0, 1)]


def test_a_diff_of_hostile_texts_takes_linear_time() -> None:
    old, new = "a\nb\n" * 50_000, "b\na\n" * 50_000
    for limit in (PREVIEW, WHOLE):
        [diff] = use("Edit", limit, file_path="/x", old_string=old, new_string=new)["blocks"]
        assert diff["added"] == diff["removed"] == 100_000
        assert len(diff["lines"]) <= 2_000
        assert diff["more"] > 0


def test_a_diff_of_a_long_text_takes_little_memory() -> None:
    tracemalloc.start()
    try:
        long = "\n" * 4_000_000
        tracemalloc.reset_peak()
        found = use("Edit", file_path="/x", old_string=long, new_string=long + "x")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found["cut"] is True
    assert most - len(long) < 20_000_000
    found = use("Write", file_path="/x", content=long)
    assert (found["cut"], found["blocks"][0]["more"] > 0) == (True, True)


def test_send_has_its_whole_body() -> None:
    body = "word " * 20_000
    found = use("mcp__hive__send", WHOLE, to="bob", body=body, urgent=True)
    assert (found["tool"], found["title"]) == ("hive send", "to bob")
    assert found["blocks"][0]["text"] == body
    assert found["blocks"][1]["text"] == "urgent: true"


def test_no_other_tool_looks_like_one_of_the_hive() -> None:
    assert use("mcp__hive__send", to="bob", body="b")["tool"] == "hive send"
    for lie in ("hive send", "mcp__hive__a send"):
        assert use(lie, to="bob", body="b")["tool"] != "hive send"
        assert isinstance(use(lie)["tool"], list)  # it has a mark
    turn = turn_row(Turn(tools={"mcp__hive__send": 2, "Bash": 3}))
    assert turn["tools"] == [{"tool": "Bash", "calls": 3}, {"tool": "hive send", "calls": 2}]


def test_a_list_of_steps_is_bounded() -> None:
    items = [{"text": "x" * 9_000, "state": "doing"}, {"text": 7, "state": "<b>"}, None] * 200
    rows = todo_rows(Todo.model_validate({"items": items}).items)
    assert len(rows) <= 50
    assert rows[1] == {"text": "7", "state": "unknown"}
    assert len(json.dumps(rows)) < 50_000


def test_long_texts_are_cut_in_lists_and_whole_on_request() -> None:
    text = "x" * 10_000
    cut = row("tool-result", id="t1", content=text)
    assert (len(cut["blocks"][0]["text"]), cut["blocks"][0]["length"], cut["cut"]) == (
        PREVIEW,
        10_000,
        True,
    )
    assert row("tool-result", WHOLE, id="t1", content=text)["blocks"][0]["text"] == text


def test_the_texts_of_a_row_share_its_bound() -> None:
    edits = [{"old_string": "", "new_string": "y" * 9_000}] * 50
    found = use("MultiEdit", file_path="/x", edits=edits)
    shown = sum(len(line["text"]) for diff in found["blocks"] for line in diff["lines"])
    assert shown <= PREVIEW
    assert found["cut"] is True


def test_parts_of_a_result_are_joined_and_colours_dropped() -> None:
    content = [{"type": "text", "text": "\x1b[31mred\x1b[0m"}, {"type": "image", "data": "…"}, 7]
    assert row("tool-result", content=content)["blocks"][0]["text"] == "red\n[image]"


def test_hidden_characters_are_marked() -> None:
    found = row("denied", tool="Bash\u202e", reason="no\u202eexe.gnp")
    assert found["tool"][1]["shown"] == "U+202E"
    assert found["blocks"][0]["text"][1]["shown"] == "U+202E"


def test_woken_by_names_only_what_may_be_a_sender() -> None:
    messages = [{"id": 4, "from": "bob", "kind": "message"}, {"id": -1, "from": "<b>", "kind": 7}]
    assert row("wake", messages=messages, prompt="p")["messages"] == [
        {"id": 4, "from": "bob", "kind": "message"},
        {"id": 0, "from": "unknown", "kind": "unknown"},
    ]


HOSTILE: list[Any] = [
    None,
    [],
    {},
    "",
    "x" * 100_000,
    "9" * 5_000,
    -1,
    2**70,
    1e400,
    [[[]]],
    {"a": [1]},
    True,
]
KINDS = [
    "state", "wake", "urgent", "session", "text", "thinking", "tool-use", "tool-result", "denied",
    "permission", "server-failed", "compacted", "note", "cancelled", "limit", "result", "turn-end",
    "no-such-type",
]  # fmt: skip
FIELDS = [
    "state", "reason", "until", "messages", "prompt", "session_id", "model", "tools",
    "mcp_servers", "resumed", "text", "id", "tool", "input", "content", "error", "summary",
    "choices", "answer", "name", "trigger", "before", "after", "level", "by", "outcome", "seconds",
    "cost_usd",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_any_data_make_a_bounded_row(kind: str) -> None:
    for value in HOSTILE:
        found = row(kind, **dict.fromkeys(FIELDS, value))
        assert len(json.dumps(found)) < 200_000


def test_all_texts_of_a_row_share_its_bound() -> None:
    hidden = "\u202e" * 4_000
    servers = [{"name": hidden, "status": hidden}] * 50
    for found in (
        row("permission", id="7", tool=hidden, summary=hidden, choices=[hidden] * 50),
        row("session", mcp_servers=servers, model=hidden),
    ):
        assert json.dumps(found).count("<U+202E>") < PREVIEW + 500
        assert found["cut"] is True


def test_any_state_turn_day_and_partial_make_a_bounded_row() -> None:
    keys = ["since", "started", "ended", "woken_by", "context_tokens", "day", "turns", "kind"]
    for value in HOSTILE:
        data = dict.fromkeys([*FIELDS, *keys], value)
        for made in (
            state_row(State.model_validate(data)),
            turn_row(Turn.model_validate(data)),
            day_row(Day.model_validate(data)),
            partial_row(Partial.model_validate(data)),
        ):
            assert len(json.dumps(made, allow_nan=False)) < 200_000


@pytest.mark.parametrize("value", [-1, 2**53, 2**70, 1e400, -1e9, True, "7", None, [], {}])
def test_a_number_that_a_page_cannot_hold_is_none(value: Any) -> None:
    figures = {"context_tokens": value, "cost_today_usd": value, "until": value}
    row = state_row(State.model_validate(figures))
    assert (row["context_tokens"], row["cost_today"], row["until"]) == (0, 0, 0)


def test_nested_data_are_not_followed_for_ever() -> None:
    nested: Any = []
    for _ in range(100_000):
        nested = [nested]
    assert "nested too deeply" in row("tool-result", content={"x": nested})["blocks"][0]["text"]


def test_a_day_needs_a_date() -> None:
    assert Day(day="2026-11-29").day == "2026-11-29"
    for wrong in ("<script>", "2026-11-29x", "", None, 7):
        assert Day.model_validate({"day": wrong}).day == ""
