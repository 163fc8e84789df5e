"""The state of an agent's harness, its turns, and its days, each as a row."""

from typing import Final

from services.dashboard.state.agent.checks import (
    MAX_ITEMS,
    messages,
    microseconds,
    name,
    sentence,
)
from services.dashboard.state.agent.tools import counts
from services.dashboard.state.tables import Json, Row
from wire.agent_web import Day, State, Step
from wire.agent_web import Turn as ReportedTurn
from wire.records.ledger import Cost, Turn
from wire.records.tokens import token_counts

MAX_STEP: Final = 500


def state_row(state: State) -> Row:
    """Return the state that the agent's harness reports about itself."""
    return {
        "state": state.state,
        "reason": sentence(state.reason),
        "since": microseconds(state.since),
        "until": microseconds(state.until),
        "activity": sentence(state.activity, 200),
        "model": name(state.model),
        "effort": name(state.effort),
        "session": name(state.session),
        "context_tokens": state.context_tokens,
        "context_limit": state.context_limit,
        "cost_today": state.cost_today_usd,
        "turn": state.turn or None,
        "stored": state.stored,
    }


def todo_rows(steps: tuple[Step, ...]) -> list[Json]:
    """Return the steps of the agent's own list, as far as pages show them."""
    return [
        {"text": sentence(step.text, MAX_STEP), "state": step.state} for step in steps[:MAX_ITEMS]
    ]


def turn_row(turn: ReportedTurn) -> Row:
    """Return a turn with its figures; times in microseconds, the cost in US dollars."""
    return {
        "id": turn.id,
        "started": microseconds(turn.started),
        "ended": microseconds(turn.ended),
        "outcome": turn.outcome,
        "messages": messages(turn.woken_by),
        "model": name(turn.model),
        "session": name(turn.session),
        "seconds": turn.seconds,
        "cost": turn.cost_usd,
        "tools": counts(turn.tools),
        "error": sentence(turn.error),
        "first_request_ms": turn.first_request_ms or 0,
        "first_token_ms": turn.first_token_ms or 0,
        **_figures(turn),
    }


def _figures(turn: ReportedTurn | Turn) -> Row:
    """Return the figures that the harness and the ledger tell in the same units."""
    return {
        **token_counts(turn),
        "context_tokens": turn.context_tokens,
        "tool_calls": turn.tool_calls,
        "denied": turn.denied,
        "open_threads": turn.open_threads,
        "open_reminders": turn.open_reminders,
    }


def day_row(day: Day) -> Row:
    """Return the figures of a day."""
    return {
        "day": day.day,
        "turns": day.turns,
        "seconds": day.seconds,
        "cost": day.cost_usd,
        "input_tokens": day.input_tokens,
        "output_tokens": day.output_tokens,
        "tools": counts(day.tools),
    }


def recorded_turn_row(turn: Turn) -> Row:
    """Return a turn as the ledger has recorded it."""
    return {
        "id": turn.turn,
        "started": turn.started,
        "ended": turn.ended,
        "outcome": turn.outcome,
        "messages": [],
        "model": name(turn.model),
        "session": name(turn.session),
        "seconds": turn.duration / 1e6,
        "cost": turn.cost / 1e6,
        "tools": counts(turn.tools),
        "error": sentence(turn.error),
        "first_request_ms": turn.first_request // 1000,
        "first_token_ms": turn.first_token // 1000,
        **_figures(turn),
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
