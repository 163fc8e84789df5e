"""The events of an agent, as the lines of a terminal."""

from datetime import datetime
from typing import Any

import pytest

from hivectl.output.event_lines import GUTTER, MORE, SOME, EventLines
from hivectl.output.terminal import Output
from hivectl.tests.hostile import HOSTILE, assert_harmless
from wire.agent_web.records import DATA, Event, State
from wire.agent_web.tests.fake_web import AT, event

TIME = datetime.fromtimestamp(AT + 1).astimezone().strftime("%H:%M:%S")


@pytest.fixture
def output() -> Output:
    made = Output()
    made.columns, made.colour = 80, False
    return made


@pytest.fixture
def lines(output: Output) -> EventLines:
    return EventLines(output)


def shown(lines: EventLines, type: str, **data: Any) -> list[str]:
    return lines.event(Event.model_validate(event(1, type, turn=12, **data)))


def texts(lines: EventLines, type: str, **data: Any) -> list[str]:
    """Return the lines without the time."""
    return [line[9:].strip() if line[:1].strip() else line for line in shown(lines, type, **data)]


def test_a_turn_from_its_messages_to_its_end(lines: EventLines) -> None:
    messages = [
        {"id": 7, "from": "operator", "kind": "message"},
        {"id": 8, "from": "system", "kind": "reminder"},
    ]
    first, prompt = shown(lines, "wake", messages=messages, prompt="You have\n2 messages\n")
    assert first == (
        f"{TIME} turn      12: message 7 from operator, message 8 from system (reminder)"
    )
    assert prompt == f"{'':{GUTTER}}You have ... 1 more line"
    assert texts(lines, "text", text="I look.\n\nThen I act.\n") == [
        "text      I look.",
        "",
        f"{'':{GUTTER}}Then I act.",
    ]
    assert texts(lines, "turn-end", outcome="done", seconds=6.54, cost_usd=0.0123) == [
        "turn      12 done after 6.5s, $0.0123"
    ]
    failed = texts(lines, "turn-end", outcome="failed", error="it broke", seconds=1)
    assert failed == ["turn      12 failed after 1.0s, $0.00", f"{'':{GUTTER}}it broke"]
    assert texts(lines, "urgent", messages=messages[:1]) == [
        "turn      12: urgent, message 7 from operator"
    ]


def test_the_messages_are_shown_without_the_rest_of_the_prompt(lines: EventLines) -> None:
    prompt = (
        'Rules, each time.\n\n<message-0a1b id="7" from="bob">\nfirst\n</message-0a1b>\n'
        '<message-0a1b id="8" from="x">\n1\n2\n3\n4\n5\n6\n7\n8\n</message-0a1b>\n'
    )
    shown = [line.strip() for line in texts(lines, "wake", messages=[], prompt=prompt)]
    assert shown == ["turn      12: no message", "first", *"123456", "... 2 more lines"]


def test_a_hostile_prompt_is_read_in_time(lines: EventLines) -> None:
    began = datetime.now()
    shown(lines, "wake", prompt="<message-a >\n" * 20_000)
    assert (datetime.now() - began).total_seconds() < 10


def test_tools_with_their_results(lines: EventLines) -> None:
    bash = texts(lines, "tool-use", id="a", tool="Bash", input={"command": "ls\npwd"})
    assert bash == ["tool      Bash ls", f"{'':{GUTTER}}pwd"]
    output = "\n".join(f"line {n}" for n in range(20))
    result = texts(lines, "tool-result", id="a", content=[{"type": "text", "text": output}])
    assert result[0] == "result    line 0"
    assert len(result) == SOME + 1
    assert result[-1].strip() == f"... {20 - SOME} more lines"
    read = texts(lines, "tool-use", id="b", tool="Read", input={"file_path": "/x", "limit": 3})
    assert read == ["tool      Read file_path=/x, limit=3"]
    assert texts(lines, "tool-result", id="b", content="no such file", error=True) == [
        "failed    no such file"
    ]
    assert texts(lines, "tool-result", id="c", content=[{"type": "image"}, 3]) == [
        "result    (image)",
        f"{'':{GUTTER}}3",
    ]


def test_an_edit_is_a_diff_with_counts(lines: EventLines) -> None:
    given = {"file_path": "/state/a.py", "old_string": "a\nb\nc\n", "new_string": "a\nB\nc\nd\n"}
    assert [line.strip() for line in texts(lines, "tool-use", tool="Edit", input=given)] == [
        "tool      Edit /state/a.py (+2 -1)",
        "a",
        "-b",
        "+B",
        "c",
        "+d",
    ]
    edits = [{"old_string": "x", "new_string": "y"}, {"old_string": "z", "new_string": ""}]
    several = texts(lines, "tool-use", tool="MultiEdit", input={"file_path": "/a", "edits": edits})
    assert [line.strip() for line in several] == [
        "tool      MultiEdit /a (+1 -2)",
        "-x",
        "+y",
        "-z",
    ]


def test_a_written_file_is_folded(lines: EventLines) -> None:
    text = "\n".join(map(str, range(1000)))
    written = texts(lines, "tool-use", tool="Write", input={"file_path": "/a", "content": text})
    assert written[0] == "tool      Write /a (+1000 -0)"
    assert len(written) == MORE + 2
    assert written[-1].strip() == f"... {1000 - MORE} more lines"


def test_with_full_nothing_is_folded(output: Output) -> None:
    lines = EventLines(output, full=True)
    text = "\n".join(map(str, range(1000)))
    assert len(shown(lines, "thinking", text=text)) == 1000
    given = {"file_path": "/a", "content": text}
    assert len(shown(lines, "tool-use", tool="Write", input=given)) == 1001


def test_a_message_is_folded_unless_the_operator_gets_it(lines: EventLines) -> None:
    send = "mcp__hive__send"
    to_bob = texts(lines, "tool-use", tool=send, input={"to": "bob", "body": "a\nb\nc"})
    assert to_bob == ["tool      send to bob", f"{'':{GUTTER}}a ... 2 more lines"]
    assert texts(lines, "tool-use", id="x", tool=send, input={"to": "bob"}) != []
    assert texts(lines, "tool-result", id="x", content='{"id": 3}') == []
    to_me = texts(lines, "tool-use", tool=send, input={"to": "operator", "body": "a\nb\nc"})
    assert [line.strip() for line in to_me] == ["tool      send to operator", "a", "b", "c"]


@pytest.mark.parametrize(
    ("type", "data", "expected"),
    [
        ("thinking", {"text": "hm\nhm"}, ["thinking  hm ... 1 more line"]),
        ("thinking", {"text": ""}, []),
        ("text", {"text": " \n"}, []),
        ("state", {"state": "waiting", "reason": "for you"}, ["state     waiting: for you"]),
        ("state", {"state": "held", "until": AT + 1}, [f"state     held, until {TIME}"]),
        ("state", {"state": "thinking"}, []),
        (
            "state",
            {"state": "error", "reason": "Gone.", "until": AT + 1},
            [f"state     error: Gone, until {TIME}"],
        ),
        ("state", {"state": "error", "reason": "Gone."}, ["state     error: Gone."]),
        ("denied", {"tool": "WebFetch", "reason": "no"}, ["denied    WebFetch: no"]),
        (
            "permission",
            {"tool": "Bash", "summary": "rm", "choices": ["allow", "deny"]},
            ["asks      Bash: rm", "1  allow", "2  deny"],
        ),
        ("permission", {"tool": "Bash", "summary": "x", "answer": "no"}, ["answered  Bash: x: no"]),
        ("server-failed", {"name": "docs", "error": "gone"}, ["failed    MCP server docs: gone"]),
        (
            "session",
            {"model": "opus", "tools": ["a"], "mcp_servers": [{"name": "d", "status": "failed"}]},
            ["session   began, opus, 1 tool", "not connected: d"],
        ),
        ("compacted", {"trigger": "auto", "before": 150000}, ["compacted 150k tokens (auto)"]),
        ("note", {"text": "n", "level": "warning"}, ["note      n"]),
        ("cancelled", {"by": "operator", "text": "Bash"}, ["cancelled by operator: Bash"]),
        ("limit", {"text": "used up", "until": AT + 1}, [f"limit     used up, until {TIME}"]),
        ("result", {"text": "fine"}, []),
        ("result", {"text": "not fine", "error": True}, ["failed    not fine"]),
        ("result", {"text": "", "error": True}, []),
        ("of-tomorrow", {"a": 1}, ['event     {"a": 1}']),
        (
            "tool-use",
            {"tool": "mcp__hive__ask", "input": {"question": "Where?"}},
            ["tool      ask question=Where?"],
        ),
        ("tool-use", {"tool": ["x"]}, ['tool      ["x"]']),
    ],
)  # fmt: skip
def test_other_events(
    lines: EventLines, type: str, data: dict[str, Any], expected: list[str]
) -> None:
    assert [line.strip() for line in texts(lines, type, **data)] == expected


def test_text_is_shown_as_it_grows_and_once(lines: EventLines) -> None:
    assert lines.partial("text", "no line yet") == []
    first, second = lines.partial("text", "one\ntwo\nthr")
    assert (first[9:], second.strip()) == ("text      one", "two")
    assert lines.partial("thinking", "hm\n") == []
    assert lines.partial("text", "one\ntwo\nthree") == []
    assert [line.strip() for line in shown(lines, "text", text="one\ntwo\nthree\nfour")] == [
        f"{TIME}           three",
        "four",
    ]
    assert len(shown(lines, "text", text="one\ntwo\nthree")) == 3, "the next text is another one"
    lines.partial("text", "one\n")
    assert len(shown(lines, "text", text="another\ntext")) == 2, "what was begun is not this"
    lines.partial("text", "all\n")
    assert shown(lines, "text", text="all\n") == []


def test_a_long_line_is_shown_row_by_row(lines: EventLines) -> None:
    words = [f"word{n}" for n in range(60)]
    text, grown = " ".join(words), list[str]()
    for end in range(0, len(text), 7):
        grown += lines.partial("text", text[:end])
    assert len(grown) > 4
    grown += shown(lines, "text", text=text)
    assert " ".join(" ".join(line[GUTTER:] for line in grown).split()) == text
    assert max(map(len, grown)) <= 80
    assert [line for line in grown if "text" in line[:GUTTER]] == grown[:1]


def test_the_state_of_now(lines: EventLines) -> None:
    state = State(
        state="thinking",
        since=AT + 1,
        model="opus",
        context_tokens=50_000,
        context_limit=200_000,
        cost_today_usd=1.5,
    )
    first, second = lines.state(state)
    assert len(lines.state(state.model_copy(update={"stored": False}))) == 3
    assert first == f"{TIME} state     thinking"
    assert second.strip() == "opus, context 50.0k of 200k", "costs are the ledger's"


WORDS = {"text", "prompt", "reason", "summary", "name", "error", "trigger", "level", "by", "tool"}


@pytest.mark.parametrize("type", [*DATA, "unknown"])
@pytest.mark.parametrize("columns", [None, 80])
def test_hostile_words_do_not_steer_the_terminal(
    output: Output, type: str, columns: int | None
) -> None:
    output.columns = columns
    data: dict[str, Any] = dict.fromkeys(WORDS, HOSTILE)
    data |= {
        "state": HOSTILE,
        "outcome": HOSTILE,
        "answer": HOSTILE,
        "id": HOSTILE,
        "content": [{"type": "text", "text": HOSTILE}, {"type": HOSTILE}],
        "choices": [HOSTILE],
        "messages": [{"id": 1, "from": HOSTILE, "kind": HOSTILE}],
        "mcp_servers": [{"name": HOSTILE, "status": HOSTILE}],
        "model": HOSTILE,
    }
    for tool in ("Bash", "Edit", "Write", "mcp__hive__send", HOSTILE):
        for answer in (HOSTILE, None):
            given = {
                "command": HOSTILE,
                "file_path": HOSTILE,
                "old_string": HOSTILE,
                "new_string": HOSTILE * 2,
                "content": HOSTILE,
                "to": HOSTILE,
                "body": HOSTILE,
                HOSTILE: HOSTILE,
            }
            found = shown(
                EventLines(output, full=True),
                type,
                **{**data, "tool": tool, "input": given, "answer": answer},
            )
            assert found or type == "result"
            for at, line in enumerate(found):
                assert_harmless(line)
                assert "\n" not in line
                # The first columns are ours: no word of the agent's can look like an event.
                assert line[:8] == (TIME if at == 0 else " " * 8) or not line
                assert at == 0 or not line[:GUTTER].strip()
                assert columns is None or len(line) <= columns


def test_what_is_read_exactly_shows_plain_words_only(lines: EventLines) -> None:
    """Letters that look like others are spelled out in commands, paths and names."""
    word = "\u0441\u043e\u0440"  # Cyrillic, and a whole word: a message may have it
    plain = "<U+0441><U+043E><U+0440>"
    for tool, given in (
        ("Bash", {"command": word}),
        ("Write", {"file_path": "/a", "content": word}),
        ("Edit", {"file_path": word, "new_string": "x"}),
        ("mcp__hive__send", {"to": word, "body": "x"}),
        (word, {"a": 1}),
    ):
        assert plain in "".join(shown(lines, "tool-use", tool=tool, input=given)), tool


def test_a_diff_has_counts_and_a_few_lines_around_it(lines: EventLines) -> None:
    one = {"old_string": "a\nb", "new_string": "a\nc"}
    given = {"file_path": "/a", "edits": [one, {"old_string": "d", "new_string": ""}]}
    found = texts(lines, "tool-use", tool="MultiEdit", input=given)
    assert [line.strip() for line in found] == [
        "tool      MultiEdit /a (+1 -2)",
        *("a", "-b", "+c", "-d"),
    ]
    given = {"notebook_path": "/n", "new_source": "x"}
    assert texts(lines, "tool-use", tool="NotebookEdit", input=given)[1].strip() == "+x"


@pytest.mark.parametrize("until", [2**33, 2**34, 2**40])
def test_a_time_that_cannot_be_shown_harms_nothing(lines: EventLines, until: int) -> None:
    assert len(shown(lines, "limit", text="used up", until=until)) == 1
    made = Event.model_validate(event(1, "text", text="x")).model_copy(update={"at": 2.0**40})
    assert lines.event(made) == [f"-{'':8}text      x"]
    state = State(state="held").model_copy(update={"until": 2.0**40})
    assert "held, until -" in lines.state(state)[0]


def test_a_hostile_edit_is_compared_in_time(lines: EventLines) -> None:
    old = "\n".join("ab"[n % 2] for n in range(200))
    new = "\n".join("ba"[n * n % 3 % 2] for n in range(200))
    began = datetime.now()
    shown(lines, "tool-use", tool="Edit", input={"old_string": old, "new_string": new})
    long = "x\n" * 100_000
    shown(lines, "tool-use", tool="Edit", input={"old_string": long, "new_string": long + "y"})
    assert (datetime.now() - began).total_seconds() < 10
