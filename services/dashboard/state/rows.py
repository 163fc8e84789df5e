"""The rows of the tables, made from the services' answers. Their keys are the pages' contract."""

from collections.abc import Mapping, Sequence
from typing import Any

from wire import names

from .tables import Row

MAX_PREVIEW = 4096
"""Characters of a text in the state; a page fetches the rest when somebody wants to read it."""

AGENT_FIELDS = {
    "Name": "name",
    "Machine": "machine",
    "Enabled": "enabled",
    "State": "state",
    "Since": "since",
    "TurnState": "turn_state",
    "TurnSince": "turn_since",
    "Model": "model",
    "ContextTokens": "context_tokens",
    "LoggedIn": "logged_in",
    "Resources": "resources",
    "Network": "network",
    "Image": "image",
    "Stale": "stale",
    "Port": "port",
    "DeployedCommit": "deployed_commit",
}
"""The properties of Agent1 that pages show, and their keys in a row."""

MESSAGE_FIELDS = (
    "id", "from", "to", "kind", "body", "at", "redeliveries", "urgent", "in_reply_to", "state",
    "invocation", "earlier_life",
)  # fmt: skip
QUESTION_FIELDS = (
    "id", "from", "to", "question", "choices", "multi", "asked", "deadline", "state", "answer",
    "answered_by", "resolved",
)  # fmt: skip
APPROVAL_FIELDS = (
    "id", "kind", "agent", "commit", "reason", "requested_by", "requested", "state", "note",
    "resolved",
)  # fmt: skip


def agent_row(known: Row, properties: Mapping[str, Any]) -> Row:
    """Return the row `known` of an agent, with the new values of some of its properties."""
    changes = {AGENT_FIELDS[k]: v for k, v in properties.items() if k in AGENT_FIELDS}
    return {**known, **changes}


def job_row(agent: str, verb: str) -> Row:
    """Return the row of a job."""
    return {"agent": agent, "verb": verb}


def approval_row(approval: Sequence[Any]) -> Row:
    """Return the row of an approval."""
    return dict(zip(APPROVAL_FIELDS, approval, strict=True))


def question_row(question: Sequence[Any]) -> Row:
    """Return the row of a question; long texts are cut to MAX_PREVIEW characters."""
    row = dict(zip(QUESTION_FIELDS, question, strict=True))
    row["length"] = len(row["question"])
    row["question"] = row["question"][:MAX_PREVIEW]
    row["answer"] = [text[:MAX_PREVIEW] for text in row["answer"]]
    return row


def message_row(message: Sequence[Any]) -> Row:
    """Return the row of a message: the beginning of its body, and the length of the whole."""
    row = dict(zip(MESSAGE_FIELDS, message, strict=True))
    row["length"] = len(row["body"])
    row["body"] = row["body"][:MAX_PREVIEW]
    return row


def is_unread(row: Row) -> bool:
    """Whether a message waits in the operator's inbox."""
    return bool(row["to"] == names.OPERATOR and row["state"] == "queued")


def is_dead(row: Row) -> bool:
    """Whether a message is a dead letter, which waits for the operator's decision."""
    return bool(row["state"] == "dead")
