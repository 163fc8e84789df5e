"""The records of org.hyperhive.Broker1. Times are microseconds since 1970, 0 for never."""

from collections.abc import Collection
from enum import StrEnum
from typing import Final, NamedTuple

from wire.records.codec import dictionary, struct
from wire.types import Bool, Int64, Str, StrList, UInt32, UInt64

PREVIEW: Final = 4096
"""The most characters of a text that a MessageChange carries."""

ALLOW_ALWAYS: Final = "Always allow"
"""The choice of a question about a permission that also adds its rule to agent.toml."""
DENY: Final = "Deny"
"""The choice of a question about a permission that denies it; a text says why."""
DECLINE: Final = "I do not answer"
"""The choice of a field of a form that ends the form without answers."""
LEAVE_OUT: Final = "Leave this out"
"""The choice of a field of a form that leaves the field empty."""


def have_numbers(choices: Collection[str]) -> bool:
    """Return whether choices may be named by their numbers, from 1 on.

    Where all of them are ways to give no answer, the answer may be a number itself.
    """
    return not set(choices) <= {DECLINE, LEAVE_OUT}


class MessageState(StrEnum):
    """The place of a message on its way."""

    QUEUED = "queued"
    LEASED = "leased"
    ACKNOWLEDGED = "acknowledged"
    DEAD = "dead"
    DROPPED = "dropped"
    """Given up by the operator."""
    RETRACTED = "retracted"
    """Taken back by its sender."""
    CANCELLED = "cancelled"
    """Ended with its turn, which was cancelled."""


class HoldKind(StrEnum):
    """The cause of a hold."""

    LOOP = "loop"
    """Two agents write to each other again and again."""
    OPERATOR = "operator"
    """The operator's order."""
    LIMIT = "limit"
    """A usage limit of the provider, after which the agent does not go on by itself."""
    BUDGET = "budget"
    """A budget that is used up."""


class QuestionState(StrEnum):
    """The state of a question."""

    OPEN = "open"
    ANSWERED = "answered"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class ReminderState(StrEnum):
    """The state of a reminder."""

    PENDING = "pending"
    DELIVERED = "delivered"
    CANCELLED = "cancelled"


@struct
class Message(NamedTuple):
    """A stored message."""

    id: UInt64
    sender: Str
    recipient: Str
    kind: Str
    """`message` for what agents and the operator say; services use kinds of their own."""
    body: Str
    queued: Int64
    redeliveries: UInt32
    """The number of deliveries that ended without an acknowledgement."""
    urgent: Bool
    in_reply_to: UInt64
    """The message that this one answers; 0 when it answers none."""
    state: MessageState
    invocation: Str = ""
    """The InvocationID of the recipient's container that the message was handed to last before
    this answer; empty for never, or not known."""
    earlier_life: Bool = False
    """Whether that invocation has ended."""
    interrupt: Bool = False
    """Whether a tool call that runs is cancelled for this message."""
    reason: Str = ""
    """Why its recipient released it last: one line of at most 300 characters, which an agent
    wrote; empty for not said."""
    traceparent: Str = ""
    """The span of the turn that sent the message, as W3C Trace Context writes it; empty for a
    message outside of a trace."""


@struct
class MessageChange(NamedTuple):
    """A row of the signal MessagesChanged: a message after its latest change."""

    id: UInt64
    sender: Str
    recipient: Str
    kind: Str
    state: MessageState
    body: Str
    """The first PREVIEW characters of a message that is new, became a dead letter, or was one. In
    other changes it may be empty, for the text never changes."""
    length: UInt32
    """The characters of the whole text; 0 where the text is left out."""
    queued: Int64
    redeliveries: UInt32
    urgent: Bool
    in_reply_to: UInt64
    reason: Str = ""


@struct
class Hold(NamedTuple):
    """A held agent: it gets no messages but urgent ones of the operator and the hive."""

    agent: Str
    kind: HoldKind
    text: Str
    """The reason, for people."""
    since: Int64


@dictionary()
class BudgetHold(NamedTuple):
    """The agents that a budget holds, and the question to the operator about it."""

    agents: StrList
    """Names; `*` for all registered agents."""
    reason: Str
    """One line, for people: what is used up."""
    question: Str
    choices: StrList
    key: Str
    """The broker asks once for each key: another call holds the agents that are not held yet, and
    gives those that it names and that are held for a budget the new reason."""


@struct
class HoldsChanged(NamedTuple):
    """The arguments of the signal HoldsChanged."""

    agent: Str
    kind: Str
    """A HoldKind; empty when the agent is not held any more."""
    text: Str
    since: Int64
    """When the hold began, or ended."""


@struct
class Question(NamedTuple):
    """A question and its answer."""

    id: UInt64
    asker: Str
    recipient: Str
    text: Str
    choices: StrList
    """Empty when any text may be the answer."""
    multi: Bool
    asked: Int64
    deadline: Int64
    state: QuestionState
    answer: StrList
    answered_by: Str
    resolved: Int64
    permission: Str = ""
    """The key of the tool call that waits for the answer; empty for any other question."""
    rule: Str = ""
    """The rule that ALLOW_ALWAYS adds to the asker's agent.toml; empty if there is none."""


@struct
class Reminder(NamedTuple):
    """A message that its owner gets later."""

    id: UInt64
    owner: Str
    due: Int64
    body: Str
    file: Str
    """The file below the owner's /state that holds the text; empty when `body` does."""
    created: Int64
    state: ReminderState
    message: UInt64
    """The message that the reminder has become, or 0."""


@dictionary(keys={"sender": "from", "recipient": "to"})
class Thread(NamedTuple):
    """Something that somebody still waits for; only the keys that apply are sent."""

    kind: Str
    """question, message, dead-letter, reminder, approval, or unavailable."""
    id: UInt64 = 0
    sender: Str = ""
    recipient: Str = ""
    text: Str = ""
    since: Int64 = 0
    due: Int64 = 0
    state: Str = ""


@dictionary()
class SendOptions(NamedTuple):
    """The options of Send."""

    in_reply_to: UInt64 | None = None
    dedupe_key: Str | None = None
    """A message of the same sender with the same key is stored once."""
    urgent: Bool = False
    """The message reaches a running turn at its next tool boundary."""
    kind: Str = "message"
    """Only services set it."""
    interrupt: Bool = False
    """With `urgent`: cancel a tool call that runs first. Only the operator and the manager set
    it."""
    traceparent: Str | None = None
    """The span that sends the message, which is handed out with the message."""


@dictionary()
class ReleaseOptions(NamedTuple):
    """The options of Release and GiveBack."""

    reason: Str = ""
    """Why; it is kept with the messages."""


@dictionary()
class InboxOptions(NamedTuple):
    """The options of SetInboxOptions."""

    max_redeliveries: UInt32 | None = None
    """In place of that of the configuration."""


@dictionary(keys={"sender": "from"})
class PurgeOptions(NamedTuple):
    """The options of PurgeInbox."""

    sender: Str | None = None
    """Only messages from this sender, and the hive's messages about its questions and answers."""


@struct
class Purged(NamedTuple):
    """The outcome of PurgeInbox."""

    dropped: UInt64
    """The number of messages that were dropped."""
    leased: UInt64
    """The number of messages that stay because they are leased: the recipient works on them."""


@dictionary()
class AskOptions(NamedTuple):
    """The options of Ask."""

    choices: StrList | None = None
    multi: Bool = False
    ttl_s: UInt32 | None = None
    """The seconds after which the question expires."""
    dedupe_key: Str | None = None
    permission: Str | None = None
    """The key of a tool call that waits for the answer: it is asked once at a time."""
    rule: Str | None = None
    """The rule that the choice ALLOW_ALWAYS adds to the asker's agent.toml."""
    traceparent: Str | None = None
    """The span that asks. The messages about the question have it, also the one with the
    answer."""


@dictionary()
class RemindOptions(NamedTuple):
    """The options of Remind."""

    after_s: UInt32 | None = None
    """The seconds from now, in place of the time `due`."""
    file: Str | None = None
    dedupe_key: Str | None = None


@dictionary(keys={"sender": "from", "recipient": "to"})
class MessageFilter(NamedTuple):
    """The filter of ListMessages: all that is set must hold."""

    recipient: Str | None = None
    sender: Str | None = None
    agent: Str | None = None
    """The sender or the recipient."""
    text: Str | None = None
    before: UInt64 | None = None
    """Only smaller ids."""
    after: UInt64 | None = None
    """Only greater ids."""
    since: Int64 | None = None
    """Queued at this time or later."""
    until: Int64 | None = None
    """Queued before this time."""
    kind: Str | None = None
    state: MessageState | None = None
    thread: UInt64 | None = None
    """The messages that this one answers, itself, and all that answer one of them."""


@dictionary(keys={"sender": "from", "recipient": "to"})
class QuestionFilter(NamedTuple):
    """The filter of ListQuestions; see MessageFilter."""

    recipient: Str | None = None
    sender: Str | None = None
    agent: Str | None = None
    text: Str | None = None
    before: UInt64 | None = None
    after: UInt64 | None = None
    since: Int64 | None = None
    until: Int64 | None = None
    state: QuestionState | None = None


@dictionary()
class ReminderFilter(NamedTuple):
    """The filter of ListReminders; see MessageFilter."""

    owner: Str | None = None
    state: ReminderState | None = None
    before: UInt64 | None = None
    after: UInt64 | None = None


@struct
class MessageCount(NamedTuple):
    """The number of messages of one state in an inbox."""

    recipient: Str
    state: MessageState
    """`queued`, `leased` or `dead`."""
    number: UInt64


@struct
class OperatorMessageQueued(NamedTuple):
    """The arguments of the signal OperatorMessageQueued."""

    sender: Str
    id: UInt64
    kind: Str


@struct
class QuestionAdded(NamedTuple):
    """The arguments of the signal QuestionAdded."""

    recipient: Str
    id: UInt64
    asker: Str


@struct
class QuestionResolved(NamedTuple):
    """The arguments of the signal QuestionResolved."""

    asker: Str
    id: UInt64
    recipient: Str
    state: QuestionState


@struct
class ReminderAdded(NamedTuple):
    """The arguments of the signal ReminderAdded."""

    owner: Str
    id: UInt64


@struct
class ReminderCancelled(NamedTuple):
    """The arguments of the signal ReminderCancelled."""

    owner: Str
    id: UInt64


@struct
class ReminderDue(NamedTuple):
    """The arguments of the signal ReminderDue."""

    owner: Str
    id: UInt64
    message: UInt64
