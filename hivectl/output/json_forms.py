"""The JSON forms of records, for programs.

The keys are a contract with programs: add keys, never rename them. Times are in ISO 8601, in UTC.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from hivectl.output.formats import iso_time

if TYPE_CHECKING:
    from wire.records.approvals import Approval, Deploy
    from wire.records.broker import Hold, Message, Question, Reminder, Thread
    from wire.records.changes import ChangeDetails, ChangeDiff, ProjectChange
    from wire.records.dashboard import Session
    from wire.records.ledger import Budget, Cost, Egress, ProviderLimit, Request, Turn, UsageSum
    from wire.records.lifecycle import AgentProperties, Resources, Tombstone, Usage
    from wire.records.projects import Project, ProjectDetails

Json: TypeAlias = Mapping[str, "Json"] | Sequence["Json"] | str | int | float | bool | None


def agent(record: "AgentProperties") -> dict[str, Json]:
    """Return an agent; times that it never had are null."""
    return record._asdict() | {
        "since": iso_time(record.since),
        "turn_since": iso_time(record.turn_since),
        "turn_until": iso_time(record.turn_until),
        "last_crash": iso_time(record.last_crash),
        "resources": amounts(record.resources),
        "network": record.network._asdict(),
        "projects": [project._asdict() for project in record.projects],
    }


def amounts(record: "Resources | Usage") -> dict[str, int]:
    """Return the limits that exist, or the uses that the host counts."""
    return {key: value for key, value in record._asdict().items() if value is not None}


def tombstone(record: "Tombstone") -> dict[str, Json]:
    """Return the kept data of a destroyed agent."""
    return {
        "name": record.name,
        "bytes": record.size,
        "destroyed": iso_time(record.destroyed),
    }


def message(record: "Message") -> dict[str, Json]:
    """Return a message; `in_reply_to` is null if it answers none."""
    return {
        "id": record.id,
        "from": record.sender,
        "to": record.recipient,
        "kind": record.kind,
        "body": record.body,
        "queued": iso_time(record.queued),
        "redeliveries": record.redeliveries,
        "urgent": record.urgent,
        "in_reply_to": record.in_reply_to or None,
        "state": record.state,
        "invocation": record.invocation or None,
        "earlier_life": record.earlier_life,
        "interrupt": record.interrupt,
        "reason": record.reason or None,
    }


def hold(record: "Hold") -> dict[str, Json]:
    """Return a held agent."""
    return {
        "agent": record.agent,
        "kind": record.kind,
        "reason": record.text,
        "since": iso_time(record.since),
    }


def question(record: "Question") -> dict[str, Json]:
    """Return a question; no choices mean that any text may be the answer."""
    return {
        "id": record.id,
        "from": record.asker,
        "to": record.recipient,
        "question": record.text,
        "choices": record.choices,
        "multi": record.multi,
        "asked": iso_time(record.asked),
        "deadline": iso_time(record.deadline),
        "state": record.state,
        "answer": record.answer,
        "answered_by": record.answered_by or None,
        "resolved": iso_time(record.resolved),
        "permission": record.permission or None,
        "rule": record.rule or None,
    }


def reminder(record: "Reminder") -> dict[str, Json]:
    """Return a reminder; `message` is the ID of the message that it has become, or null."""
    return record._asdict() | {
        "due": iso_time(record.due),
        "created": iso_time(record.created),
        "file": record.file or None,
        "message": record.message or None,
    }


def thread(record: "Thread") -> dict[str, Json]:
    """Return an open thread; what does not apply to its kind is null."""
    return {
        "kind": record.kind,
        "id": record.id or None,
        "from": record.sender or None,
        "to": record.recipient or None,
        "text": record.text,
        "since": iso_time(record.since),
        "due": iso_time(record.due),
        "state": record.state or None,
    }


def approval(record: "Approval") -> dict[str, Json]:
    """Return a request for approval."""
    return record._asdict() | {
        "requested": iso_time(record.requested),
        "resolved": iso_time(record.resolved),
    }


def deploy(record: "Deploy") -> dict[str, Json]:
    """Return a deployment."""
    return record._asdict() | {"at": iso_time(record.at), "tag": record.tag}


def turn(record: "Turn") -> dict[str, Json]:
    """Return a turn of the ledger; costs are in dollars, durations in seconds, null for unknown."""
    fields = record._asdict()
    for micro in ("first_request", "first_token"):
        value = fields.pop(micro)
        fields[f"{micro}_seconds"] = value / 1_000_000 if value else None
    return fields | {
        "started": iso_time(record.started),
        "ended": iso_time(record.ended),
        "seconds": record.duration / 1_000_000,
        "cost": record.cost / 1_000_000,
        "error": record.error or None,
        "model": record.model or None,
        "session": record.session or None,
    }


def budget(record: "Budget") -> dict[str, Json]:
    """Return a budget; amounts are in dollars, and null for a limit that does not exist."""
    return {
        "kind": record.kind,
        "name": record.name,
        "period": record.period,
        "limit": record.limit / 1_000_000 if record.limit else None,
        "limit_tokens": record.limit_tokens or None,
        "raised": record.raised / 1_000_000,
        "raised_tokens": record.raised_tokens,
        "spent": record.spent / 1_000_000,
        "spent_tokens": record.spent_tokens,
        "reserved": record.reserved / 1_000_000,
        "reserved_tokens": record.reserved_tokens,
        "since": iso_time(record.since),
        "until": iso_time(record.until),
        "lifted_until": iso_time(record.lifted_until),
        "state": record.state,
        "unknown_price": record.unknown_price,
        "question": record.question or None,
    }


def egress(record: "Egress") -> dict[str, Json]:
    """Return an agent, a host and a port, with the connections that were made and refused."""
    return record._asdict() | {
        "first": iso_time(record.first),
        "last": iso_time(record.last),
        "reason": record.reason or None,
        "decided": iso_time(record.decided),
    }


_NO_REQUEST: Mapping[str, Json] = {
    "id": None,
    "commit": None,
    "reason": "",
    "state": "pending",
    "note": "",
    "resolved": None,
}
"""The keys of a request for approval, in the other things that wait for the operator."""


def pending_egress(record: "Egress") -> dict[str, Json]:
    """Return a refused host among the requests for approval, with all of their keys."""
    return {
        **_NO_REQUEST,
        **egress(record),
        "kind": "egress",
        "reason": record.reason,
        "requested_by": record.agent,
        "requested": iso_time(record.first),
    }


def pending_budget(record: "Budget") -> dict[str, Json]:
    """Return a budget that is used up among the requests for approval, with all of their keys."""
    return {
        **_NO_REQUEST,
        **budget(record),
        "kind": "budget",
        "of": record.kind,
        "agent": record.name if record.kind == "agent" else None,
        "state": "pending",
        "requested_by": "system",
        "requested": None,
    }


def request(record: "Request") -> dict[str, Json]:
    """Return a request to the model API; durations are in seconds, null where nothing came."""
    fields = record._asdict()
    for micro in ("first_byte", "last_byte"):
        value = fields.pop(micro)
        fields[f"{micro}_seconds"] = value / 1_000_000 if value else None
    return fields | {
        "started": iso_time(record.started),
        "ended": iso_time(record.ended),
        "cost": record.cost / 1_000_000,
        "model": record.model or None,
        "status": record.status or None,
    }


def usage_sum(record: "UsageSum", key: str) -> dict[str, Json]:
    """Return sums of requests; `key` is the name of their key: day, model, agent or credential."""
    fields = record._asdict()
    return {key: fields.pop("key") or None, **fields, "cost": record.cost / 1_000_000}


def provider_limit(record: "ProviderLimit") -> dict[str, Json]:
    """Return the limits of the provider for a credential."""
    return {
        "credential": record.credential,
        "limited_until": iso_time(record.until),
        "remaining_requests": record.remaining_requests,
        "remaining_tokens": record.remaining_tokens,
        "remaining_until": iso_time(record.remaining_until),
        "updated": iso_time(record.updated),
        "agents": list(record.agents),
    }


def cost(record: "Cost", key: str) -> dict[str, Json]:
    """Return sums of turns and requests; `key` is the name of their key: day, model or agent."""
    return {
        key: record.key or None,
        "turns": record.turns,
        "seconds": record.duration / 1_000_000,
        "input_tokens": record.input_tokens,
        "output_tokens": record.output_tokens,
        "cache_read_tokens": record.cache_read_tokens,
        "cache_write_tokens": record.cache_write_tokens,
        "cost": record.cost / 1_000_000,
        "unknown_price": record.unknown_price,
    }


def session(record: "Session") -> dict[str, Json]:
    """Return a login to the dashboard."""
    return record._asdict() | {
        "began": iso_time(record.began),
        "used": iso_time(record.used),
        "expires": iso_time(record.expires),
    }


def project(record: "Project") -> dict[str, Json]:
    """Return a project; times and texts that it does not have are null."""
    fields = record._asdict()
    size = fields.pop("size")
    return fields | {
        "bytes": size,
        "source": record.source or None,
        "branch": record.branch or None,
        "message": record.message or None,
        "commit": record.commit or None,
        "fetched": iso_time(record.fetched),
        "added": iso_time(record.added),
        "credential": record.credential or None,
        "depth": record.depth or None,
        "filter": record.filter or None,
    }


def project_details(record: "ProjectDetails") -> dict[str, Json]:
    """Return a project with its branches and the keys of its host."""
    return project(record.project) | {
        "branches": [
            branch._asdict() | {"committed": iso_time(branch.committed)}
            for branch in record.branches
        ],
        "branch_count": record.branch_count,
        "tag_count": record.tag_count,
        "host_keys": list(record.host_keys),
    }


def project_change(record: "ProjectChange") -> dict[str, Json]:
    """Return a change of a project; its id is written as people write it."""
    return record._asdict() | {
        "id": f"c{record.id}",
        "submitted": iso_time(record.submitted),
        "changed": iso_time(record.changed),
        "note": record.note or None,
        "published": record.published or None,
    }


def change_details(record: "ChangeDetails") -> dict[str, Json]:
    """Return a change with its revisions and comments."""
    return project_change(record.change) | {
        "revisions": [
            one._asdict() | {"submitted": iso_time(one.submitted)} for one in record.revisions
        ],
        "comments": [
            one._asdict() | {"at": iso_time(one.at), "path": one.path or None}
            for one in record.comments
        ],
    }


def change_diff(record: "ChangeDiff") -> dict[str, Json]:
    """Return what a change changes; commits that there are not are null."""
    return record._asdict() | {
        "base": record.base or None,
        "merge_base": record.merge_base or None,
        "files": [one._asdict() for one in record.files],
        "commits": [one._asdict() | {"at": iso_time(one.at)} for one in record.commits],
    }


def pending_change(record: "ProjectChange") -> dict[str, Json]:
    """Return an open change among all that waits for the operator."""
    return {"kind": "change", **project_change(record)}
