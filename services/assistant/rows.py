"""Records of the bus as JSON for an assistant. Times are in ISO 8601, costs in dollars.

Texts that agents wrote have their hidden and misleading characters spelled out: a model reads
what a person would not see.
"""

from datetime import UTC, datetime
from typing import TypeAlias

from wire.records.approvals import Approval
from wire.records.broker import Message, Question
from wire.records.ledger import Budget, Cost
from wire.records.lifecycle import AgentProperties
from wire.records.tokens import token_counts
from wire.text.escaping import literal, prose

Json: TypeAlias = dict[str, "Json"] | list["Json"] | str | int | float | bool | None
Row: TypeAlias = dict[str, Json]


def said(text: str) -> str:
    """Return a text that people and agents write to each other."""
    return prose(text)


def exactly(text: str) -> str:
    """Return a text that is read exactly, such as a diff."""
    return literal(text)


def agent_line(agent: AgentProperties) -> Row:
    """Return the most important facts about an agent."""
    return {
        "name": agent.name,
        "state": agent.state,
        "since": _time(agent.since),
        "turn_state": agent.turn_state,
        "turn_since": _time(agent.turn_since),
        "reason": said(agent.turn_reason),
        "activity": said(agent.activity),
        "model": exactly(agent.model),
    }


def agent(agent: AgentProperties) -> Row:
    """Return the facts about an agent."""
    network = agent.network
    return {
        **agent_line(agent),
        "starts_at_boot": agent.enabled,
        "turn_until": _time(agent.turn_until),
        "effort": exactly(agent.effort),
        "context_tokens": agent.context_tokens,
        "context_limit": agent.context_limit,
        "logged_in": agent.logged_in,
        "needs_update": agent.stale,
        "deployed_commit": agent.deployed_commit,
        "limits": {key: one for key, one in agent.resources._asdict().items() if one is not None},
        "network": network.mode,
        "egress": [exactly(rule) for rule in network.egress],
        "ports": list(network.ports),
    }


def message(message: Message) -> Row:
    """Return a message."""
    return {
        "number": message.id,
        "from": message.sender,
        "to": message.recipient,
        "kind": message.kind,
        "at": _time(message.queued),
        "state": message.state,
        "in_reply_to": message.in_reply_to or None,
        "body": said(message.body),
    }


def question(question: Question) -> Row:
    """Return a question; without choices any text may be the answer."""
    return {
        "number": question.id,
        "from": question.asker,
        "to": question.recipient,
        "question": exactly(question.text) if question.permission else said(question.text),
        "choices": [said(choice) for choice in question.choices],
        "several_choices": question.multi,
        "asked": _time(question.asked),
        "deadline": _time(question.deadline),
        "state": question.state,
        "answer": [said(text) for text in question.answer],
        "is_permission": bool(question.permission),
        "always_allows": exactly(question.rule) or None,
    }


def approval(approval: Approval) -> Row:
    """Return a request for approval."""
    return {
        "number": approval.id,
        "kind": approval.kind,
        "agent": approval.agent,
        "commit": approval.commit,
        "reason": said(approval.reason),
        "requested_by": approval.requested_by,
        "requested": _time(approval.requested),
        "state": approval.state,
        "note": said(approval.note),
    }


def cost(cost: Cost) -> Row:
    """Return the sums of the requests that share a key."""
    return {
        "key": exactly(cost.key),
        "dollars": cost.cost / 1_000_000,
        "unknown_price": cost.unknown_price,
        "turns": cost.turns,
        **token_counts(cost),
    }


def budget(budget: Budget) -> Row:
    """Return a budget and what is used of it."""
    return {
        "kind": budget.kind,
        "name": budget.name,
        "period": budget.period,
        "limit_dollars": budget.limit / 1_000_000 if budget.limit else None,
        "limit_tokens": budget.limit_tokens or None,
        "spent_dollars": budget.spent / 1_000_000,
        "spent_tokens": budget.spent_tokens,
        "state": budget.state,
    }


def _time(micros: int) -> str | None:
    """Return a time in microseconds since 1970 as text; None for never."""
    if not micros:
        return None
    return datetime.fromtimestamp(micros / 1_000_000, UTC).isoformat(timespec="seconds")
