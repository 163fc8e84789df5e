"""An agent's session in a real container: its context, its questions, its servers, its loss."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.tests import greeter, stubborn
from tests.system.following import Following, following
from tests.system.hive import Hive
from tests.system.inside import (
    configured,
    events,
    hivectl,
    inside,
    last_event,
    message,
    property_of,
    until_state,
    until_told,
)

pytestmark = pytest.mark.system

CONFIG = """
compact_over_tokens = 20000
allowed_tools = ["AskUserQuestion"]
[mcp_servers.greeter]
command = "python3"
args = ["/state/stubborn.py"]
env = { PIDS = "/state/pids", WORD = "Hello" }
"""
SESSION = "/state/hyperhive-session-id"
NO_SESSION = "9a4aa011-30c7-4de3-a581-b94d20bd31db"
LOST = "This is a new session, because the one before could not be continued"


@pytest.fixture(scope="module")
def cleo(swarm: Hive) -> Iterator[Hive]:
    """Add the agent cleo, with a server that does not end by itself and leaves a process."""
    sources = [Path(str(one.__file__)) for one in (greeter, stubborn)]
    files = {f"/state/{source.name}": source.read_text() for source in sources}
    with configured(swarm, "cleo", CONFIG, files):
        yield swarm


def turn(hive: Hive, body: str) -> list[dict[str, Any]]:
    """Give cleo a message, wait for the end of its turn, and return the events."""
    before = last_event(hive, "cleo")
    number = int(hivectl(hive, "send", "cleo", body)["id"])
    hive.until_settled(number)
    until_state(hive, "cleo", "idle", "TurnState")
    assert message(hive, number)["redeliveries"] == 0
    return events(hive, "cleo", after=before)


def texts(seen: list[dict[str, Any]], type: str, key: str) -> list[Any]:
    return [event["data"][key] for event in seen if event["type"] == type]


def answer(hive: Hive, tail: Following, given: dict[str, list[str]]) -> None:
    """Answer the questions that contain the keys of `given`, once they are all asked."""
    for _ in given:
        tail.until("permission")
    assert property_of(hive, "cleo", "TurnState") == "waiting"
    asked = hivectl(hive, "questions", "--from", "cleo")
    assert len(asked) == len(given)
    for words, choices in given.items():
        [number] = [str(one["id"]) for one in asked if words in json.dumps(one)]
        hive.hivectl("answer", number, *choices)


@pytest.mark.long
def test_claude_codes_own_questions_are_answered_by_the_operator(cleo: Hive) -> None:
    with following(cleo, "cleo") as tail:
        cleo.hivectl("send", "cleo", "play choose")
        answer(cleo, tail, {"Which colour?": ["Blue"], "Which sizes?": ["S", "L"]})
    told = until_told(cleo, "operator", "message", "I was told: ")
    assert '"Which colour?"="Blue"' in told
    assert '"Which sizes?"="S, L"' in told
    until_state(cleo, "cleo", "idle", "TurnState")


@pytest.mark.long
def test_a_form_of_a_server_is_filled_in_by_the_operator(cleo: Hive) -> None:
    with following(cleo, "cleo") as tail:
        cleo.hivectl("send", "cleo", "play greet form")
        answer(cleo, tail, {"Good day": ["Good day"], "times": ["2"]})
    told = until_told(cleo, "operator", "message", "The greeter says: {")
    accepted = json.loads(told.removeprefix("The greeter says: "))
    assert accepted == {"action": "accept", "content": {"word": "Good day", "times": 2}}
    until_state(cleo, "cleo", "idle", "TurnState")


def test_a_prompt_that_is_too_long_is_compacted_and_asked_again(cleo: Hive) -> None:
    turn(cleo, "play short-turn")
    seen = turn(cleo, "play prompt-too-long")
    assert texts(seen, "result", "text") == ["Now it fits."]
    assert texts(seen, "compacted", "trigger")
    assert "compacting" in texts(seen, "state", "state")


@pytest.mark.long
def test_a_large_context_is_compacted_after_the_turn(cleo: Hive) -> None:
    with following(cleo, "cleo") as tail:
        seen = turn(cleo, "play large-context")
        tail.until("compacted")
    assert not [data for data in texts(seen, "wake", "prompt") if "compact" in data]
    until_state(cleo, "cleo", "idle", "TurnState")
    assert 0 < property_of(cleo, "cleo", "ContextTokens") < 20_000


@pytest.mark.long
def test_nothing_of_a_server_is_left_and_a_lost_session_is_told(cleo: Hive) -> None:
    assert "Hello, Ada!" in json.dumps(turn(cleo, "play greet Ada"))
    started = inside(cleo, "cleo", "cat", "/state/pids").stdout.split()[-2:]
    inside(cleo, "cleo", "kill", "-0", *started)
    cleo.hivectl("effort", "cleo", "low")  # closes Claude Code: its next start has the level
    for pid in started:
        inside(cleo, "cleo", "timeout", "30", "tail", f"--pid={pid}", "-f", "/dev/null")
    inside(cleo, "cleo", "tee", SESSION, stdin=NO_SESSION)
    seen = turn(cleo, "play short-turn")
    assert LOST in texts(seen, "wake", "prompt")[0]
    assert any("could not be continued" in text for text in texts(seen, "note", "text"))
    assert inside(cleo, "cleo", "cat", SESSION).stdout.strip() != NO_SESSION
    assert LOST not in texts(turn(cleo, "play short-turn"), "wake", "prompt")[0]
