"""The tools of the harness itself, extra MCP servers and the notes, with the real Claude Code."""

import json
import sys
from pathlib import Path

import pytest

from harness import config, extra_mcp
from harness.tests import greeter
from harness.tests.conftest import Harness
from harness.tests.hive import Hive
from harness.tools.todo import Item, Progress, TodoError, TodoList, parsed


async def say(harness: Harness, hive: Hive, body: str) -> None:
    """Give the agent a message, and wait for the end of its turn."""
    number = await hive.push(body)
    await hive.until(lambda: number in hive.acknowledged)


@pytest.mark.long
async def test_a_list_survives_a_new_session_and_is_told_again(
    harness: Harness, hive: Hive
) -> None:
    await harness.start()
    await say(harness, hive, "plan soup")
    items = json.loads(hive.sent[-1]["body"])["items"]
    assert [item["state"] for item in items] == ["done", "doing", "open"]
    assert json.loads((harness.state / "hyperhive-todo.json").read_text())["items"] == items
    await say(harness, hive, "plan badly")
    assert "'later' is not one of ['open', 'doing', 'done']" in hive.sent[-1]["body"]
    prompts = [wake["prompt"] for wake in harness.events("wake")]
    assert not any("cook soup" in prompt for prompt in prompts), "the session knows it"
    await harness.stop()
    await harness.start()
    await say(harness, hive, "hello")
    prompt = harness.events("wake")[-1]["prompt"]
    assert "- [doing] cook soup\n- [open] eat" in prompt
    assert "buy soup" not in prompt
    await say(harness, hive, "hello again")
    assert "cook soup" not in harness.events("wake")[-1]["prompt"], "it is told once"


@pytest.mark.long
async def test_a_list_is_told_again_after_a_compaction(harness: Harness, hive: Hive) -> None:
    await harness.start()
    await say(harness, hive, "plan soup")
    await hive.command("compact")
    await say(harness, hive, "hello")
    assert "- [doing] cook soup" in harness.events("wake")[-1]["prompt"]


@pytest.mark.long
async def test_an_agent_learns_about_itself(harness: Harness, hive: Hive) -> None:
    await harness.start(operator_name="Ada", operator_pronouns="she/her")
    await say(harness, hive, "hello")
    await say(harness, hive, "who are you")
    who, turns = (json.loads(sent["body"]) for sent in hive.sent[-2:])
    assert (who["name"], who["role"]) == ("bob", "agent")
    assert who["operator"] == {"name": "Ada", "pronouns": "she/her"}
    assert who["limits"] == {"tasks_max": 4096}, "from the hive"
    assert [turn["outcome"] for turn in turns["turns"]] == ["running", "done"]
    assert turns["turns"][1]["woken_by"][0]["from"] == "operator"


def server() -> dict[str, object]:
    return {"command": sys.executable, "args": [greeter.__file__]}


async def test_extra_servers_come_from_a_file(harness: Harness, hive: Hive) -> None:
    servers = {
        "greeter": {**server(), "env": {"WORD": "Ahoy"}, "allowedTools": ["greet"]},
        "broken": {"command": "/nonexistent"},
        "hive": server(),
        "odd": {"command": 7},
    }
    (harness.root / extra_mcp.FILE).write_text(json.dumps(servers))
    await harness.start()
    await say(harness, hive, "greet Eve")
    assert hive.sent[-1]["body"] == "Ahoy, Eve!"
    assert [event["name"] for event in harness.events("server-failed")] == ["broken"]
    notes = " ".join(note["text"] for note in harness.events("note"))
    assert "'hive' is left out: hive and hyperhive are the hive's own" in notes
    assert "'odd' is left out: command must be a string" in notes


@pytest.mark.long
async def test_a_tool_that_an_extra_server_does_not_allow_is_refused(
    harness: Harness, hive: Hive
) -> None:
    servers = {"greeter": {**server(), "allowedTools": ["other"]}}
    (harness.root / extra_mcp.FILE).write_text(json.dumps(servers))
    await harness.start()
    await say(harness, hive, "greet Eve")
    assert "Eve!" not in hive.sent[-1]["body"]
    assert "No such tool" not in hive.sent[-1]["body"], "it is there, but not allowed"


@pytest.mark.long
async def test_a_malformed_file_stops_no_turn(harness: Harness, hive: Hive) -> None:
    (harness.root / extra_mcp.FILE).write_text("{")
    await harness.start()
    await say(harness, hive, "hello")
    [note] = [note for note in harness.events("note") if "extra MCP" in note["text"]]
    assert note["level"] == "warning"


@pytest.mark.long
async def test_long_notes_are_condensed_between_turns(harness: Harness, hive: Hive) -> None:
    notes = harness.state / "notes.md"
    notes.write_text("A fact.\n" * 1000)
    await harness.start(notes_limit=4000)
    session = harness.state / "hyperhive-session-id"
    await say(harness, hive, "hello")
    first = session.read_text()
    await say(harness, hive, "hello again")
    assert notes.read_text() == "# Notes\n\nShort.\n"
    [old] = (harness.state / "notes-old").iterdir()
    assert old.read_text() == "A fact.\n" * 1000
    assert session.read_text() == first, "the agent's own session goes on"
    rows = harness.rows("hyperhive-turn-stats.sqlite", "SELECT outcome, messages FROM turns")
    assert ("done", "[]") in rows
    assert "condensed from 8000" in " ".join(note["text"] for note in harness.events("note"))


@pytest.mark.long
async def test_notes_that_cannot_be_condensed_are_kept(harness: Harness, hive: Hive) -> None:
    notes = harness.state / "notes.md"
    notes.write_text("x\n")
    await harness.start(notes_limit=1)
    await say(harness, hive, "hello")
    await say(harness, hive, "hello again")
    assert notes.read_text() == "x\n"
    assert not (harness.state / "notes-old").exists()
    failed = [n for n in harness.events("note") if "not condensed" in n["text"]]
    assert len(failed) == 1, "not again before they grow"


def merged(tmp_path: Path, text: str, **own: object) -> tuple[config.Config, list[str]]:
    path = tmp_path / extra_mcp.FILE
    path.write_text(text)
    return extra_mcp.merge(config.Config("a", mcp_servers=own), path)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "an object of servers"),
        ("nonsense", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ('{"a b": {"command": "x"}}', "its name"),
        ('{"x": 1}', "an object with the key command"),
        ('{"x": {"command": "x", "arguments": []}}', "there is no key 'arguments'"),
        ('{"x": {"command": "x", "args": [1]}}', "a list of strings"),
        ('{"x": {"command": "x", "env": {"A=B": "c"}}}', "env must be"),
        ('{"x": {"command": "x", "allowedTools": ["a(b)"]}}', "allowedTools must be"),
        ('{"hyperhive": {"command": "x"}}', "the hive's own"),
        ('{"own": {"command": "x"}}', "agent.toml has one with this name"),
    ],
)
def test_invalid_extra_servers_are_left_out(tmp_path: Path, text: str, words: str) -> None:
    settings, warnings = merged(tmp_path, text, own={"command": "y"})
    assert settings.mcp_servers == {"own": {"command": "y"}}
    assert len(warnings) == 1
    assert words in warnings[0]


def test_no_file_and_no_servers_are_no_warning(tmp_path: Path) -> None:
    settings = config.Config("a")
    assert extra_mcp.merge(settings, tmp_path / "none.json") == (settings, [])
    assert merged(tmp_path, '{"mcpServers": {}}') == (settings, [])
    found, warnings = merged(tmp_path, '{"mcpServers": {"x": {"command": "y"}}}')
    assert (found.mcp_servers, warnings) == ({"x": {"command": "y"}}, [])


def test_a_list_that_is_not_valid_is_empty(tmp_path: Path) -> None:
    assert TodoList(tmp_path / "none").shown() == {"items": []}
    todo = TodoList(tmp_path)
    todo.replace([Item("half \ud83d"), Item("done", Progress.DONE)])
    assert [item.text for item in todo.items] == ["half ?", "done"]
    for text in ("", "{", "[]", '{"items": 7}', '{"items": [{"text": ""}]}', "[" * 100_000):
        (tmp_path / "hyperhive-todo.json").write_text(text)
        assert todo.items == ()
        assert todo.shown() == {"items": []}
        assert todo.reminder() is None
    with pytest.raises(TodoError, match="more than 100: leave out finished ones"):
        parsed([{"text": "x"}] * 101)
