"""The record of what the agent does: sequence numbers, files that fail, older files."""

import json
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from claude_agent_sdk import ResultMessage

from harness.events.events import (
    FILE,
    MAX_PAGE_DATA,
    MAX_PAGE_VALUES,
    MAX_VALUES,
    Events,
)
from harness.events.store import EventStore
from harness.events.turns import Cause, Turns, TurnStats, midnight
from harness.turns.turn import Turn

OPERATOR = Cause(7, "operator", "message")


def types(store: EventStore) -> list[str]:
    return [event.type for event in store.events.before(None, 500, None)]


def test_events_are_numbered_and_paged_from_both_ends(tmp_path: Path) -> None:
    store = EventStore(tmp_path)
    numbers = [store.event("text", text=str(n)) for n in range(10)]
    assert numbers == sorted(set(numbers))
    assert store.events.bounds() == (numbers[0], numbers[-1])
    assert [e.seq for e in store.events.after(numbers[3], 3)] == numbers[4:7]
    assert [e.seq for e in store.events.before(numbers[5], 2, None)] == numbers[3:5]
    assert store.events.after(numbers[-1]) == []
    store.close()
    again = EventStore(tmp_path)
    assert again.event("text", text="later") > numbers[-1]
    again.close()


def test_the_events_of_a_turn_are_found(tmp_path: Path) -> None:
    store = EventStore(tmp_path)
    store.event("note", text="before")
    for _ in range(2):
        turn = store.begin([OPERATOR])
        store.event("text", text=f"in {turn}")
        store.end(TurnStats("done"))
    found = store.events.before(None, 100, turn)
    assert [event.data["text"] for event in found] == [f"in {turn}"]
    store.close()


def test_numbers_grow_also_when_the_file_is_lost(tmp_path: Path) -> None:
    store = EventStore(tmp_path)
    last = [store.event("text", text="x") for _ in range(5)][-1]
    store.close()
    for file in tmp_path.iterdir():
        file.unlink()
    time.sleep(0.01)  # numbers begin at the time in milliseconds
    store = EventStore(tmp_path)
    assert store.event("text", text="x") > last
    store.close()


def test_the_first_event_of_a_turn_says_what_began_it(tmp_path: Path) -> None:
    """The state is reported at once, and Claude Code may take seconds to start."""
    store = EventStore(tmp_path)
    store.begin([OPERATOR])
    store.report(turn_state="thinking", reason="", until=0)
    assert store.shown_status()["state"] == "thinking"
    store.note("a note while Claude Code starts")
    store.event("wake", messages=[], prompt="hello")
    store.report(turn_state="rate-limited", reason="", until=0)
    store.report(turn_state="thinking", reason="", until=0)
    store.event("turn-end", outcome="done")
    store.end(TurnStats("done"))
    assert types(store) == ["note", "wake", "state", "state", "state", "turn-end"]
    # A turn that ends before it is woken, as when Claude Code does not start.
    store.report(turn_state="idle", reason="", until=0)
    store.begin([OPERATOR])
    store.report(turn_state="thinking", reason="", until=0)
    store.event("turn-end", outcome="failed")
    store.end(TurnStats("failed"))
    events = store.events.before(None, 10, None)
    assert [event.type for event in events[-3:]] == ["state", "state", "turn-end"]
    assert [event.turn for event in events] == [1] * 6 + [None, 2, 2]
    store.close()


@pytest.mark.parametrize("trap", ["link", "pipe", "directory", "damaged"])
def test_a_file_that_cannot_be_opened_is_replaced_by_memory(trap: str, tmp_path: Path) -> None:
    path = tmp_path / "hyperhive-events.sqlite"
    match trap:
        case "link":
            path.symlink_to(tmp_path / "elsewhere")
        case "pipe":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
        case "damaged":
            path.write_bytes(b"no database" * 1000)
    store = EventStore(tmp_path)
    [note] = store.events.before(None, 10, None)
    assert note.type == "note"
    assert note.data["level"] == "error"
    assert "hyperhive-events.sqlite cannot be used" in note.data["text"]
    assert store.shown_status()["stored"] is False
    store.begin([OPERATOR])
    store.event("text", text="hello")
    assert types(store)[-1] == "text"
    assert not (tmp_path / "elsewhere").exists()
    store.close()


def test_events_go_on_in_memory_and_into_the_file_when_it_can_be_written(tmp_path: Path) -> None:
    store = EventStore(tmp_path)
    first = store.event("text", text="stored")
    other = sqlite3.connect(tmp_path / "hyperhive-events.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    second = store.event("text", text="while it is locked")
    assert second > first
    assert store.shown_status()["stored"] is False
    store.begin([OPERATOR])
    assert types(store)[-1] == "note", "it says that events are in memory"
    other.execute("ROLLBACK")
    other.close()
    store.end(TurnStats("done"))
    store.begin([OPERATOR])
    assert store.shown_status()["stored"] is True
    texts = [e.data["text"] for e in store.events.before(None, 10, None) if e.type == "text"]
    assert texts == ["stored", "while it is locked"]
    store.close()
    events = Events(tmp_path)
    assert len(events.after(first - 1)) == 4
    events.close()


def test_a_file_that_is_moved_away_is_begun_anew(tmp_path: Path) -> None:
    """The host's sweep moves a file away that is too large, while the harness has it open."""
    store = EventStore(tmp_path)
    last = store.event("text", text="x")
    for name in ("hyperhive-events.sqlite", "hyperhive-turn-stats.sqlite"):
        (tmp_path / name).rename(tmp_path / f"{name}.too-large")
    store.begin([OPERATOR])
    assert store.event("text", text="y") > last
    store.end(TurnStats("done"))
    store.close()
    store = EventStore(tmp_path)
    assert [event.data["text"] for event in store.events.after(0)] == ["y"]
    assert [turn["outcome"] for turn in store.turns.page(None, 9)] == ["done"]
    store.close()


def test_a_record_in_memory_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "hyperhive-events.sqlite").mkdir()
    events = Events(tmp_path)
    for number in range(700):
        last = events.add(None, "text", {"text": str(number) * 80_000})
    assert events.bounds()[1] == last
    kept = len(events.after(0))
    assert 0 < kept < 500
    events.close()


def test_a_page_is_bounded_and_makes_progress(tmp_path: Path) -> None:
    events = Events(tmp_path)
    for _ in range(20):
        events.add(None, "text", {"text": "x" * 200_000})
    seen, after = 0, 0
    while page := events.after(after):
        assert sum(len(e.data["text"]) for e in page) <= MAX_PAGE_DATA
        seen, after = seen + len(page), page[-1].seq
    assert seen == 20
    events.close()


def test_large_data_are_cut_and_stay_readable(tmp_path: Path) -> None:
    events = Events(tmp_path)
    deep: dict[str, object] = {}
    for _ in range(50):
        deep = {"inner": deep, "text": "y" * 10_000}
    values = {"input": {"content": "x" * 10**6, "path": "/state/a"}, "lists": [[1] * 10**5] * 9}
    events.add(None, "tool-use", {"tool": "Write", **values})
    events.add(None, "tool-use", {"tool": "Deep", "input": deep})
    events.add(None, "text", {"text": "half an emoji: \ud83d"})
    first, second, third = events.after(0)
    assert first.data["input"]["path"] == "/state/a"
    assert "[cut: 1000000 characters]" in first.data["input"]["content"]
    assert second.data["tool"] == "Deep"
    assert third.data["text"].endswith("\ud83d")
    events.close()


@pytest.mark.parametrize("items", [60_000, 9_000])
def test_long_lists_fit_into_what_readers_take(tmp_path: Path, items: int) -> None:
    events = Events(tmp_path)
    for number in range(20):
        events.add(1, "tool-use", {"tool": "T", "input": {"list": [0] * items, "n": number}})
    events.add(1, "text", {"text": "a, [b], {c}\\" * 10_000})
    seen, after = [], 0
    while page := events.after(after):
        shown = [event.json() for event in page]
        values = json.dumps(shown, separators=(",", ":")).replace("a, [b], {c}", "")
        assert sum(map(values.count, "[{,")) <= MAX_PAGE_VALUES + 8 * len(page)
        seen += shown
        after = page[-1].seq
    assert [one["data"]["input"]["n"] for one in seen[:-1]] == list(range(20))
    listed = seen[0]["data"]["input"]["list"]
    assert (listed[-1] == f"[cut: {items} items]") == (items > MAX_VALUES)
    assert seen[-1]["data"]["text"].startswith("a, [b], {c}\\a, ")
    events.close()


def test_a_long_list_of_an_earlier_version_is_cut_when_it_is_shown(tmp_path: Path) -> None:
    Events(tmp_path).close()
    data = json.dumps({"tool": "T", "input": [0] * 80_000})
    with closing(sqlite3.connect(tmp_path / FILE)) as database:
        database.execute("INSERT INTO events (at, type, data) VALUES (1, 'tool-use', ?)", (data,))
        database.commit()
    events = Events(tmp_path)
    [shown] = events.after(0)
    assert shown.data["input"][-1] == "[cut: 80000 items]"
    assert len(shown.data["input"]) <= MAX_VALUES
    events.close()


def test_rows_that_the_agent_has_changed_are_shown_as_unreadable(tmp_path: Path) -> None:
    store = EventStore(tmp_path)
    store.event("text", text="x")
    other = sqlite3.connect(tmp_path / "hyperhive-events.sqlite", isolation_level=None)
    for value in ("{", "[1]", "[" * 10**5, b"\xff", 5, None):
        if value is not None:
            other.execute("INSERT INTO events (at, type, data) VALUES ('x', 'text', ?)", (value,))
    other.close()
    data = [event.data for event in store.events.before(None, 100, None)]
    assert data[1:] == [{"text": "(unreadable)"}] * 5
    store.close()


def test_a_turn_has_all_its_figures(tmp_path: Path) -> None:
    store = EventStore(tmp_path)
    turn = store.begin([OPERATOR])
    stats = TurnStats("done", "s1", "m", 3, None, 40, 90, 900, 20, 700, 100, 920, 0.25, 1.5)
    stats.tools = {"Bash": 2, "Read": 1}
    store.end(stats)
    shown = store.turns.one(turn)
    assert shown is not None
    assert shown["woken_by"] == [{"id": 7, "from": "operator", "kind": "message"}]
    assert shown["tools"] == {"Bash": 2, "Read": 1}
    expected = {
        "outcome": "done",
        "session": "s1",
        "model": "m",
        "first_request_ms": 40,
        "first_token_ms": 90,
        "input_tokens": 900,
        "output_tokens": 20,
        "cache_read_tokens": 700,
        "cache_write_tokens": 100,
        "context_tokens": 920,
        "cost_usd": 0.25,
        "tool_calls": 3,
        "error": None,
    }
    assert shown | expected == shown
    assert shown["seconds"] >= 0
    assert shown["ended"] >= shown["started"]
    [day] = store.turns.days(1)
    assert day["turns"] == 1
    assert day["tools"] == {"Bash": 2, "Read": 1}
    assert store.shown_status()["cost_today_usd"] == 0.25
    store.close()


def test_a_turn_of_a_killed_harness_is_not_running(tmp_path: Path) -> None:
    store = EventStore(tmp_path)
    turn = store.begin([OPERATOR])
    store.close()
    store = EventStore(tmp_path)
    shown = store.turns.one(turn)
    assert shown is not None
    assert shown["outcome"] == "interrupted"
    store.close()


def test_files_of_the_first_version_are_migrated(tmp_path: Path) -> None:
    old = sqlite3.connect(tmp_path / "hyperhive-turn-stats.sqlite", isolation_level=None)
    old.executescript(FIRST_TURNS)
    # The cost of a turn was that of its session until then.
    for number, (session, cost) in enumerate([("a", 1.0), ("a", 1.5), ("b", 0.5), ("a", 1.75)]):
        old.execute(
            "INSERT INTO turns (started, ended, outcome, messages, session, cost_usd)"
            " VALUES (?, ?, 'done', '[4]', ?, ?)",
            (number, number + 0.5, session, cost),
        )
    old.close()
    events = sqlite3.connect(tmp_path / "hyperhive-events.sqlite", isolation_level=None)
    events.executescript(FIRST_EVENTS)
    events.execute("INSERT INTO events (at, type, data) VALUES (1, 'text', '{\"text\": \"old\"}')")
    events.close()
    turns, record = Turns(tmp_path), Events(tmp_path)
    shown = turns.page(None, 10)
    assert [turn["cost_usd"] for turn in shown] == [0.25, 0.5, 0.5, 1.0]
    assert shown[0]["woken_by"] == [{"id": 4, "from": "", "kind": ""}]
    assert shown[0]["seconds"] == 0.5
    assert turns.session_cost("a") == 1.75
    assert turns.unrecorded(10) == [], "the hive is not told of turns from before"
    assert record.after(0)[0].data == {"text": "old"}
    assert record.add(None, "text", {}) == 2
    turns.close()
    record.close()


FIRST_EVENTS = """
CREATE TABLE IF NOT EXISTS events (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at REAL NOT NULL,
  turn INTEGER,
  type TEXT NOT NULL,
  data TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS events_at ON events (at);
"""
FIRST_TURNS = """
CREATE TABLE IF NOT EXISTS turns (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  started REAL NOT NULL,
  ended REAL,
  outcome TEXT NOT NULL,
  messages TEXT NOT NULL,
  session TEXT,
  model TEXT,
  steps INTEGER,
  input_tokens INTEGER,
  output_tokens INTEGER,
  context_tokens INTEGER,
  cost_usd REAL,
  error TEXT
);
CREATE INDEX IF NOT EXISTS turns_started ON turns (started);
"""


async def test_the_state_is_an_event_when_it_changes(tmp_path: Path) -> None:
    store = EventStore(tmp_path)
    store.report(turn_state="thinking", model=None)
    since = store.status.since
    store.report(turn_state="thinking", activity="Bash")
    store.report(turn_state="thinking", context_tokens=5, unknown=1)
    assert store.status.since == since
    assert store.status.activity == "Bash"
    store.report(turn_state="rate-limited", reason="overloaded", until=9)
    states = [e.data for e in store.events.before(None, 10, None) if e.type == "state"]
    assert states == [
        {"state": "thinking", "reason": "", "until": 0},
        {"state": "rate-limited", "reason": "overloaded", "until": 9},
    ]
    store.close()


def test_days_are_those_of_the_time_zone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")  # 14 hours before UTC
    time.tzset()
    try:
        store = EventStore(tmp_path)
        turn = store.begin([OPERATOR])
        store.end(TurnStats("done", cost_usd=1.0))
        begun = midnight()
        assert time.strftime("%H:%M", time.localtime(begun)) == "00:00"
        database = sqlite3.connect(tmp_path / "hyperhive-turn-stats.sqlite", isolation_level=None)
        database.execute("UPDATE turns SET started = ?", (begun + 1,))
        [day] = store.turns.days(1)
        assert day["day"] == time.strftime("%Y-%m-%d", time.localtime(begun))
        assert store.shown_status()["cost_today_usd"] == 1.0
        database.execute("UPDATE turns SET started = ? WHERE id = ?", (begun - 1, turn))
        assert store.turns.days(1) == []
        assert store.shown_status()["cost_today_usd"] == 0.0
        database.close()
        store.close()
    finally:
        monkeypatch.undo()
        time.tzset()


def test_the_results_of_an_interrupted_turn_are_added_up(tmp_path: Path) -> None:
    def result(tokens: int, cost: float) -> ResultMessage:
        usage = {"input_tokens": tokens, "cache_read_input_tokens": 10, "output_tokens": 1}
        return ResultMessage(
            subtype="success",
            duration_ms=1,
            duration_api_ms=1,
            is_error=False,
            num_turns=2,
            session_id="s",
            total_cost_usd=cost,
            usage=usage,
        )

    store = EventStore(tmp_path)
    turn = Turn(store, [])
    turn.observe(result(100, 0.5))
    turn.observe(result(200, 0.75))
    turn.end("done")
    stats = turn.stats
    assert (stats.input_tokens, stats.cache_read_tokens, stats.output_tokens) == (320, 20, 2)
    assert (stats.steps, stats.cost_usd) == (4, 0.75)
    store.close()
