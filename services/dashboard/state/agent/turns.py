"""The state of an agent's harness, its turns, and its days, each as a row."""

import re
from typing import Final

from services.dashboard.state.agent.checks import (
    Data,
    dictionaries,
    integer,
    messages,
    microseconds,
    name,
    number,
    sentence,
    word,
)
from services.dashboard.state.agent.tools import counts
from services.dashboard.state.tables import Json, Row
from wire.records.ledger import Cost, Turn

_FIGURES: Final = (
    "first_request_ms",
    "first_token_ms",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "context_tokens",
    "tool_calls",
    "denied",
    "open_threads",
    "open_reminders",
)
_DAY: Final = re.compile(r"[0-9]{4}-[01][0-9]-[0-3][0-9]")


def state_row(state: Data) -> Row:
    """Return the state that the agent's harness reports about itself."""
    return {
        "state": word(state.get("state")),
        "reason": sentence(state.get("reason")),
        "since": microseconds(state.get("since")),
        "until": microseconds(state.get("until")),
        "activity": sentence(state.get("activity"), 200),
        "model": name(state.get("model")),
        "effort": name(state.get("effort")),
        "session": name(state.get("session")),
        "context_tokens": integer(state.get("context_tokens")),
        "context_limit": integer(state.get("context_limit")),
        "cost_today": number(state.get("cost_today_usd")),
        "turn": integer(state.get("turn")) or None,
        "stored": state.get("stored") is not False,
    }


def todo_rows(todo: Data) -> list[Json]:
    """Return the steps of the agent's own list, as far as pages show them."""
    return [
        {"text": sentence(step.get("text"), 500), "state": word(step.get("state"))}
        for step in dictionaries(todo.get("items"))
    ]


def turn_row(turn: Data) -> Row:
    """Return a turn with its figures; times in microseconds, the cost in US dollars."""
    return {
        "id": integer(turn.get("id")),
        "started": microseconds(turn.get("started")),
        "ended": microseconds(turn.get("ended")),
        "outcome": word(turn.get("outcome")),
        "messages": messages(turn.get("woken_by")),
        "model": name(turn.get("model")),
        "session": name(turn.get("session")),
        "seconds": number(turn.get("seconds")),
        "cost": number(turn.get("cost_usd")),
        "tools": counts(turn.get("tools")),
        "error": sentence(turn.get("error")),
        **{figure: integer(turn.get(figure)) for figure in _FIGURES},
    }


def day_row(day: Data) -> Row | None:
    """Return the figures of a day; None if its date is not one."""
    date = day.get("day")
    if not isinstance(date, str) or not _DAY.fullmatch(date):
        return None
    return {
        "day": date,
        "turns": integer(day.get("turns")),
        "seconds": number(day.get("seconds")),
        "cost": number(day.get("cost_usd")),
        "input_tokens": integer(day.get("input_tokens")),
        "output_tokens": integer(day.get("output_tokens")),
        "tools": counts(day.get("tools")),
    }


def recorded_turn_row(turn: Turn) -> Row:
    """Return a turn as the ledger has recorded it."""
    return {
        "id": turn.turn,
        "started": turn.started,
        "ended": turn.ended,
        "outcome": word(turn.outcome),
        "messages": [],
        "model": name(turn.model),
        "session": name(turn.session),
        "seconds": turn.duration / 1e6,
        "cost": turn.cost / 1e6,
        "tools": counts(dict(turn.tools)),
        "error": sentence(turn.error),
        "first_request_ms": turn.first_request // 1000,
        "first_token_ms": turn.first_token // 1000,
        "input_tokens": turn.input_tokens,
        "output_tokens": turn.output_tokens,
        "cache_read_tokens": turn.cache_read_tokens,
        "cache_write_tokens": turn.cache_write_tokens,
        "context_tokens": turn.context_tokens,
        "tool_calls": turn.tool_calls,
        "denied": turn.denied,
        "open_threads": turn.open_threads,
        "open_reminders": turn.open_reminders,
    }


def recorded_day_row(cost: Cost) -> Row:
    """Return the figures of a day as the ledger has summed them up; it does not know the tools."""
    return {
        "day": cost.key,
        "turns": cost.turns,
        "seconds": cost.duration / 1e6,
        "cost": cost.cost / 1e6,
        "input_tokens": cost.input_tokens,
        "output_tokens": cost.output_tokens,
        "tools": [],
    }
