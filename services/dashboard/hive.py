"""The hive as the page shows it: what the services say becomes rows. Knows no D-Bus."""

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from time import time_ns
from typing import Any

from wire import names

from .tables import Row, Table, Tables

MAX_MESSAGES = 500
"""Messages kept for the page besides the operator's unread ones."""

MAX_PREVIEW = 4096
"""Characters of a body in the state; the rest is fetched when somebody wants to read it."""

MAX_RESOLVED = 5
"""Settled approvals still shown, so that a click has a visible outcome."""

OPEN = frozenset({"pending", "approved", "building"})
"""States of approvals that something is still to come of."""

MAX_NOTICES = 10

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
"""Properties of Agent1 that the page shows, and what they are called there."""

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


def is_unread(row: Row) -> bool:
    """Whether a message waits in the operator's inbox."""
    return bool(row["to"] == names.OPERATOR and row["state"] == "queued")


def is_dead(row: Row) -> bool:
    """Whether a message is a dead letter, which waits for the operator's decision."""
    return bool(row["state"] == "dead")


def question_row(question: Sequence[Any]) -> dict[str, Any]:
    """A row from Broker1's question struct; of long texts the beginning."""
    row = dict(zip(QUESTION_FIELDS, question, strict=True))
    row["length"] = len(row["question"])
    row["question"] = row["question"][:MAX_PREVIEW]
    row["answer"] = [text[:MAX_PREVIEW] for text in row["answer"]]
    return row


def message_row(message: Sequence[Any]) -> dict[str, Any]:
    """A row from Broker1's message struct; a long body becomes its beginning and its length."""
    row = dict(zip(MESSAGE_FIELDS, message, strict=True))
    row["length"] = len(row["body"])
    row["body"] = row["body"][:MAX_PREVIEW]
    return row


def _waits(row: Row) -> bool:
    return is_unread(row) or is_dead(row)


class Hive:
    """The rules that keep the tables: one method for each thing a service can say."""

    def __init__(self, tables: Tables, now_us: Callable[[], int] | None = None) -> None:
        self._tables = tables
        self._now_us = now_us or (lambda: time_ns() // 1000)
        self._notice_ids = count(1)

    # Services

    def service_here(self, service: str) -> None:
        """The service answers, and what the tables say of it is current."""
        self._service(service, available=True, reason="")

    def service_away(self, service: str, reason: str) -> None:
        """The service does not answer; its rows stay as they were last known.

        Args:
            service: broker, lifecycle or approvals.
            reason: a sentence for the operator.
        """
        self._service(service, available=False, reason=reason)

    def _service(self, service: str, *, available: bool, reason: str) -> None:
        row = {"name": service, "available": available, "reason": reason}
        self._tables.update(Table.SERVICES, put={service: row})

    # Agents and jobs

    def agents(self, agents: Mapping[str, Mapping[str, Any]]) -> None:
        """All agents there are: properties of Agent1 by agent name."""
        self._tables.replace(
            Table.AGENTS, {name: self._agent_row({}, props) for name, props in agents.items()}
        )

    def agent_changed(self, name: str, properties: Mapping[str, Any]) -> None:
        """Some properties of an agent are new (all of them, for a new agent)."""
        row = self._agent_row(self._tables.rows(Table.AGENTS).get(name, {}), properties)
        if "name" in row:  # else a change of an agent that we have not been told of
            self._tables.update(Table.AGENTS, put={name: row})

    def agent_gone(self, name: str) -> None:
        """The agent has been destroyed."""
        self._tables.update(Table.AGENTS, remove={name})

    @staticmethod
    def _agent_row(known: Row, properties: Mapping[str, Any]) -> dict[str, Any]:
        news = {AGENT_FIELDS[k]: v for k, v in properties.items() if k in AGENT_FIELDS}
        return {**known, **news}

    def agent_crashed(self, name: str, result: str, status: int) -> None:
        """The agent's container ended without being told to."""
        self._notice(f"{name} crashed: {result}, status {status}.")

    def jobs(self, jobs: Mapping[str, tuple[str, str]]) -> None:
        """All jobs there are: agent and verb by job path."""
        self._tables.replace(Table.JOBS, {path: self._job_row(*job) for path, job in jobs.items()})

    def job_new(self, path: str, agent: str, verb: str) -> None:
        """A job was accepted."""
        self._tables.update(Table.JOBS, put={path: self._job_row(agent, verb)})

    def job_removed(self, path: str, agent: str, verb: str, result: str, error: str) -> None:
        """A job ended; a failure stays visible as a notice."""
        self._tables.update(Table.JOBS, remove={path})
        if result == "failed":
            sentence = error.partition("\n")[0]  # of a failed build its log follows
            self._notice(f"Could not {verb} {agent}: {sentence or 'no reason given'}")

    @staticmethod
    def _job_row(agent: str, verb: str) -> dict[str, Any]:
        return {"agent": agent, "verb": verb}

    # Approvals

    def approvals(self, approvals: Sequence[Sequence[Any]]) -> None:
        """All approvals there are; the open and the last settled ones are shown."""
        rows = [dict(zip(APPROVAL_FIELDS, approval, strict=True)) for approval in approvals]
        open_ = [row for row in rows if row["state"] in OPEN]
        settled = sorted(
            (row for row in rows if row["state"] not in OPEN), key=lambda row: row["resolved"]
        )
        shown = open_ + settled[-MAX_RESOLVED:]
        self._tables.replace(Table.APPROVALS, {str(row["id"]): row for row in shown})

    # Messages

    def messages(self, messages: Sequence[Sequence[Any]]) -> None:
        """All messages there are to show, in place of those shown so far."""
        self._tables.replace(Table.MESSAGES, self._window(messages))

    def messages_added(self, messages: Sequence[Sequence[Any]]) -> None:
        """Messages that are new, or whose row is to be brought up to date."""
        known = self._tables.rows(Table.MESSAGES)
        rows = {**known, **self._window(messages)}
        kept = self._newest(rows)
        self._tables.update(Table.MESSAGES, put=kept, remove=set(known) - set(kept))

    def message_state(self, message: int, state: str, redeliveries: int | None = None) -> None:
        """A message was handed out or acknowledged; one that is not shown is ignored."""
        row = self._tables.rows(Table.MESSAGES).get(str(message))
        if row is None:
            return
        news = {} if redeliveries is None else {"redeliveries": redeliveries}
        self._tables.update(Table.MESSAGES, put={str(message): {**row, "state": state, **news}})

    def _window(self, messages: Sequence[Sequence[Any]]) -> dict[str, Row]:
        return self._newest({str(message[0]): message_row(message) for message in messages})

    @staticmethod
    def _newest(rows: Mapping[str, Row]) -> dict[str, Row]:
        """The rows to keep: the newest, and whatever waits for the operator."""
        newest = set(sorted(rows, key=int)[-MAX_MESSAGES:])
        return {key: row for key, row in rows.items() if key in newest or _waits(row)}

    # Questions

    def questions(self, questions: Sequence[Sequence[Any]]) -> None:
        """All questions there are to show, in place of those shown so far."""
        self._tables.replace(
            Table.QUESTIONS, {str(question[0]): question_row(question) for question in questions}
        )

    # Notices

    def _notice(self, text: str) -> None:
        known = self._tables.rows(Table.NOTICES)
        too_many = sorted(known, key=int)[: max(0, len(known) + 1 - MAX_NOTICES)]
        row = {"text": text, "at": self._now_us()}
        self._tables.update(
            Table.NOTICES, put={str(next(self._notice_ids)): row}, remove=set(too_many)
        )
