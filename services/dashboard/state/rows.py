"""The rows of the tables, made from records of the bus. Their keys are the pages' contract."""

from services.dashboard.state import shown
from services.dashboard.state.tables import Json, Row
from wire import names
from wire.addresses import warning
from wire.records.approvals import Approval, Deploy
from wire.records.broker import (
    PREVIEW,
    Message,
    MessageChange,
    MessageState,
    Question,
    Reminder,
)
from wire.records.ledger import Budget, Egress, ProviderLimit, Request, UsageSum
from wire.records.lifecycle import (
    AgentProperties,
    JobState,
    JobVerb,
    LogEntry,
    Resources,
    Usage,
)
from wire.text.escaping import literal


def agent_row(agent: AgentProperties) -> Row:
    """Return the row of an agent."""
    return {
        "name": agent.name,
        "machine": agent.machine,
        "enabled": agent.enabled,
        "state": agent.state,
        "since": agent.since,
        "turn_state": agent.turn_state,
        "turn_since": agent.turn_since,
        "model": literal(agent.model),
        "model_setting": literal(agent.model_setting),
        "context_tokens": agent.context_tokens,
        "context_limit": agent.context_limit,
        "effort": literal(agent.effort),
        "turn_reason": shown.message(agent.turn_reason),
        "turn_until": agent.turn_until,
        "activity": shown.message(agent.activity),
        "logged_in": agent.logged_in,
        "credential": literal(agent.credential),
        "resources": amounts(agent.resources),
        "network": agent.network._asdict(),
        "image": literal(agent.image),
        "stale": agent.stale,
        "port": agent.port,
        "port_shared_with": list(agent.port_shared_with),
        "deployed_commit": agent.deployed_commit,
        "projects": [one.project for one in agent.projects],
        "crashes": agent.crashes,
        "last_crash": agent.last_crash,
    }


def amounts(record: Resources | Usage) -> Row:
    """Return the limits that exist, or the resources that the host counts."""
    return {name: value for name, value in record._asdict().items() if value is not None}


def has_limit(budget: Budget) -> bool:
    """Return whether a budget limits anything."""
    return bool(budget.limit or budget.limit_tokens)


def budget_key(budget: Budget) -> str:
    """Return the key of a budget."""
    return f"{budget.kind} {budget.name} {budget.period}"


def budget_row(budget: Budget) -> Row:
    """Return the row of a budget; amounts are millionths of a dollar."""
    return budget._asdict()


def usage_row(usage: UsageSum) -> Row:
    """Return the sums of requests that share a key; an agent may have chosen the model's name."""
    return {**usage._asdict(), "key": literal(usage.key), "cost": usage.cost / 1e6}


def request_row(request: Request) -> Row:
    """Return the row of a request to the model API that has ended."""
    return {**request._asdict(), "model": literal(request.model), "cost": request.cost / 1e6}


def limit_row(limit: ProviderLimit) -> Row:
    """Return the row of a provider's limits for a credential."""
    return limit._asdict()


def egress_key(entry: Egress) -> str:
    """Return the key of an agent's host and port."""
    return f"{entry.agent} {entry.host} {entry.port}"


def egress_row(entry: Egress) -> Row:
    """Return the row of an agent's host and port; the agent wrote the host and the reason.

    The port 0 stands for the hosts that are summed up, because they are too many.
    """
    return {
        **entry._asdict(),
        "host": literal(entry.host),
        "rule": literal(egress_rule(entry.host, entry.port) if entry.port else "other hosts"),
        "reason": shown.message(entry.reason),
        "warning": warning(entry.host),
    }


def egress_rule(host: str, port: int) -> str:
    """Return the narrowest rule that allows a host and port, as agent.toml takes it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def job_row(number: int, agent: str, verb: JobVerb, state: JobState) -> Row:
    """Return the row of a job. A purge has no way back from its first step on."""
    may_cancel = verb is not JobVerb.PURGE and state is not JobState.CANCELLING
    return {"id": number, "agent": agent, "verb": verb, "state": state, "may_cancel": may_cancel}


def approval_row(approval: Approval) -> Row:
    """Return the row of an approval; the note of a failed build goes on with the log."""
    note, _, build_log = approval.note.partition("\n")
    return {
        **approval._asdict(),
        "reason": shown.message(approval.reason),
        "note": shown.message(note),
        "log": shown.message(build_log),
    }


def deploy_row(deploy: Deploy) -> Row:
    """Return the row of a deployed configuration."""
    return {**deploy._asdict(), "description": shown.message(deploy.description)}


def log_row(entry: LogEntry) -> Row:
    """Return the row of a line of the journal, which a container may have written."""
    return {
        **entry._asdict(),
        "unit": literal(entry.unit),
        "identifier": shown.message(entry.identifier),
        "message": shown.message(entry.message),
    }


def message_row(message: Message) -> Row:
    """Return the row of a message: the beginning of its body, and the length of the whole."""
    return {
        "id": message.id,
        "from": message.sender,
        "to": message.recipient,
        "kind": message.kind,
        "body": shown.message(message.body[:PREVIEW]),
        "length": len(message.body),
        "at": message.queued,
        "redeliveries": message.redeliveries,
        "urgent": message.urgent,
        "in_reply_to": message.in_reply_to,
        "state": message.state,
        "reason": shown.message(message.reason),
    }


def changed_message_row(change: MessageChange, known: Row | None) -> Row:
    """Return the row of a message after a change; a change without text keeps the `known` one."""
    if known is not None and not change.length:
        body, length = known["body"], known["length"]
    else:
        body, length = shown.message(change.body), change.length
    return {
        "id": change.id,
        "from": change.sender,
        "to": change.recipient,
        "kind": change.kind,
        "body": body,
        "length": length,
        "at": change.queued,
        "redeliveries": change.redeliveries,
        "urgent": change.urgent,
        "in_reply_to": change.in_reply_to,
        "state": change.state,
        "reason": shown.message(change.reason),
    }


def question_text(question: Question, most: int | None = None) -> Json:
    """Return the first `most` characters of a question; those of a tool call are read exactly."""
    show = shown.exactly if question.permission else shown.message
    return show(question.text[:most])


def takes_own_text(question: Question) -> bool:
    """Return whether the operator may answer in other words than the choices.

    The hive's own questions take their choices alone.
    """
    return bool(question.choices) and (bool(question.permission) or question.asker != names.SYSTEM)


def question_row(question: Question) -> Row:
    """Return the row of a question: the beginning of its texts, and the length of the question."""
    return {
        "id": question.id,
        "from": question.asker,
        "to": question.recipient,
        "question": question_text(question, PREVIEW),
        "length": len(question.text),
        "choices": shown.messages(question.choices),
        "multi": question.multi,
        "asked": question.asked,
        "deadline": question.deadline,
        "state": question.state,
        "answer": shown.messages(text[:PREVIEW] for text in question.answer),
        "answered_by": question.answered_by,
        "resolved": question.resolved,
        "permission": bool(question.permission),
        "own": takes_own_text(question),
        "rule": shown.exactly(question.rule),
    }


def reminder_row(reminder: Reminder) -> Row:
    """Return the row of a reminder: the beginning of its body, and the length of the whole."""
    return {
        "id": reminder.id,
        "owner": reminder.owner,
        "due": reminder.due,
        "body": shown.message(reminder.body[:PREVIEW]),
        "length": len(reminder.body),
        "file": literal(reminder.file),
        "created": reminder.created,
    }


def is_unread(row: Row) -> bool:
    """Return whether a message waits in the operator's inbox."""
    return row["to"] == names.OPERATOR and row["state"] == MessageState.QUEUED


def is_dead(row: Row) -> bool:
    """Return whether a message is a dead letter, which waits for the operator's decision."""
    return row["state"] == MessageState.DEAD
