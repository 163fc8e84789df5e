"""Agents, messages, questions and so on, with their JSON forms.

The keys of the JSON forms are a contract with programs: add keys, never rename them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from hivectl.output.formats import iso_time


@dataclass(frozen=True)
class Agent:
    """An agent as lifecycle describes it. Times are microseconds since 1970, 0 for never."""

    name: str
    machine: str
    unit: str
    uid_base: int
    enabled: bool
    state: str
    since: int
    invocation_id: str
    turn_state: str
    turn_since: int
    model: str
    context_tokens: int
    logged_in: bool
    resources: dict[str, int]
    network: dict[str, Any]
    stale: bool
    port: int
    port_shared_with: list[str]
    deployed_commit: str
    image: str

    @classmethod
    def from_properties(cls, properties: Mapping[str, Any]) -> Self:
        """The agent with the properties of its Agent1 interface."""
        return cls(
            name=properties["Name"],
            machine=properties["Machine"],
            unit=properties["Unit"],
            uid_base=properties["UidBase"],
            enabled=properties["Enabled"],
            state=properties["State"],
            since=properties["Since"],
            invocation_id=properties["InvocationId"],
            turn_state=properties["TurnState"],
            turn_since=properties["TurnSince"],
            model=properties["Model"],
            context_tokens=properties["ContextTokens"],
            logged_in=properties["LoggedIn"],
            resources=properties["Resources"],
            network=properties["Network"],
            stale=properties["Stale"],
            port=properties["Port"],
            port_shared_with=properties["PortSharedWith"],
            deployed_commit=properties["DeployedCommit"],
            image=properties["Image"],
        )

    def as_json(self) -> dict[str, Any]:
        """The agent for programs."""
        return asdict(self) | {
            "since": iso_time(self.since),
            "turn_since": iso_time(self.turn_since),
        }


@dataclass(frozen=True)
class Message:
    """A message as the broker lists it; `in_reply_to` is 0 when it answers nothing."""

    id: int
    sender: str
    to: str
    kind: str
    body: str
    queued: int
    redeliveries: int
    urgent: bool
    in_reply_to: int
    state: str
    invocation: str
    earlier_life: bool

    @classmethod
    def from_struct(cls, fields: Sequence[Any]) -> Self:
        """The message in a struct (tssssxubtssb)."""
        return cls(*fields)

    def as_json(self) -> dict[str, Any]:
        """The message for programs."""
        return {
            "id": self.id,
            "from": self.sender,
            "to": self.to,
            "kind": self.kind,
            "body": self.body,
            "queued": iso_time(self.queued),
            "redeliveries": self.redeliveries,
            "urgent": self.urgent,
            "in_reply_to": self.in_reply_to or None,
            "state": self.state,
            "invocation": self.invocation or None,
            "earlier_life": self.earlier_life,
        }


@dataclass(frozen=True)
class Approval:
    """A request that waits, or waited, for the operator; `commit` is empty for old ones."""

    id: int
    kind: str
    agent: str
    commit: str
    reason: str
    requested_by: str
    requested: int
    state: str
    note: str
    resolved: int

    @classmethod
    def from_struct(cls, fields: Sequence[Any]) -> Self:
        """The request in a struct (tsssssxssx)."""
        return cls(*fields)

    def as_json(self) -> dict[str, Any]:
        """The request for programs."""
        return asdict(self) | {
            "requested": iso_time(self.requested),
            "resolved": iso_time(self.resolved),
        }


@dataclass(frozen=True)
class Deployment:
    """A configuration that was deployed; `approval` is 0 for an agent's first one."""

    at: int
    agent: str
    commit: str
    approval: int
    requested_by: str
    description: str

    @classmethod
    def from_struct(cls, fields: Sequence[Any]) -> Self:
        """The deployment in a struct (xsstss)."""
        return cls(*fields)

    @property
    def tag(self) -> str:
        """What it is called in the agent's repository."""
        return f"deployed/{self.approval}"

    def as_json(self) -> dict[str, Any]:
        """The deployment for programs."""
        return asdict(self) | {"at": iso_time(self.at), "tag": self.tag}


@dataclass(frozen=True)
class Question:
    """A question as the broker lists it; no choices: any text will do. `deadline` may be 0."""

    id: int
    asker: str
    to: str
    text: str
    choices: list[str]
    multi: bool
    asked: int
    deadline: int
    state: str
    answer: list[str]
    answered_by: str
    resolved: int

    @classmethod
    def from_struct(cls, fields: Sequence[Any]) -> Self:
        """The question in a struct (tsssasbxxsassx)."""
        return cls(*fields)

    def as_json(self) -> dict[str, Any]:
        """The question for programs."""
        return {
            "id": self.id,
            "from": self.asker,
            "to": self.to,
            "question": self.text,
            "choices": self.choices,
            "multi": self.multi,
            "asked": iso_time(self.asked),
            "deadline": iso_time(self.deadline),
            "state": self.state,
            "answer": self.answer,
            "answered_by": self.answered_by or None,
            "resolved": iso_time(self.resolved),
        }


@dataclass(frozen=True)
class Reminder:
    """A reminder as the broker lists it; `message` is what it has become, or 0."""

    id: int
    owner: str
    due: int
    body: str
    file: str
    created: int
    state: str
    message: int

    @classmethod
    def from_struct(cls, fields: Sequence[Any]) -> Self:
        """The reminder in a struct (tsxssxst)."""
        return cls(*fields)

    def as_json(self) -> dict[str, Any]:
        """The reminder for programs."""
        return asdict(self) | {
            "due": iso_time(self.due),
            "created": iso_time(self.created),
            "file": self.file or None,
            "message": self.message or None,
        }


@dataclass(frozen=True)
class Thread:
    """Something open: `kind` says what its `id` is the id of; times may be 0."""

    kind: str
    id: int
    sender: str
    to: str
    text: str
    since: int
    due: int
    state: str

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Self:
        """The thread in a dict of OpenThreads, which leaves out what does not apply."""
        return cls(
            kind=row["kind"],
            id=row.get("id", 0),
            sender=row.get("from", ""),
            to=row.get("to", ""),
            text=row.get("text", ""),
            since=row.get("since", 0),
            due=row.get("due", 0),
            state=row.get("state", ""),
        )

    def as_json(self) -> dict[str, Any]:
        """The thread for programs."""
        return {
            "kind": self.kind,
            "id": self.id or None,
            "from": self.sender or None,
            "to": self.to or None,
            "text": self.text,
            "since": iso_time(self.since),
            "due": iso_time(self.due),
            "state": self.state or None,
        }
