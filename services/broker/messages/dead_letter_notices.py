"""The messages about dead letters, to the senders of the letters and to the operator."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from services.broker.messages.message import Draft
from wire.names import OPERATOR, SYSTEM
from wire.records.broker import MessageChange

KIND: Final = "dead-letter"
"""The kind of these messages."""

MAX_NAMED: Final = 10
"""The most letters that one message to the operator names."""
SHOWN: Final = 200
"""The most characters of a letter in a message about it."""


def notices(letters: Sequence[MessageChange]) -> list[Draft]:
    """Return the messages about `letters`, which became dead letters together.

    The sender of each letter gets a message, if it is an agent, and the operator one for each
    inbox but its own: that message would have the same end.
    """
    drafts = [_to_sender(one) for one in letters if one.sender not in (SYSTEM, OPERATOR)]
    of_agents = [one for one in letters if one.recipient != OPERATOR]
    by_inbox = sorted(of_agents, key=lambda one: one.recipient)
    for recipient, group in groupby(by_inbox, key=lambda one: one.recipient):
        drafts.append(_to_operator(recipient, list(group)))
    return drafts


def _to_sender(letter: MessageChange) -> Draft:
    lines = [
        f"Your message {letter.id} to {letter.recipient} was given up: {_tries(letter)}.",
        "It is not delivered again unless the operator queues it again. Do not send the same text "
        "again; ask the operator, or go on without an answer.",
        *_words(letter),
    ]
    return _draft(letter.sender, letter.recipient, lines, in_reply_to=letter.id)


def _to_operator(recipient: str, letters: Sequence[MessageChange]) -> Draft:
    count = len(letters)
    head = "1 message" if count == 1 else f"{count} messages"
    lines = [
        f"{head} to {recipient} could not be delivered.",
        "`hivectl dead-letters` lists all dead letters, `hivectl requeue ID` queues one again, and "
        "`hivectl drop ID` gives it up.",
    ]
    for letter in letters[:MAX_NAMED]:
        lines += ["", f"Message {letter.id} from {letter.sender}: {_tries(letter)}."]
        lines += _words(letter)
    if count > MAX_NAMED:
        lines += ["", f"And {count - MAX_NAMED} more."]
    return _draft(OPERATOR, recipient, lines, in_reply_to=letters[0].id if count == 1 else 0)


def _words(letter: MessageChange) -> Iterator[str]:
    """Yield the words of others: the reason, and the beginning of the letter."""
    if letter.reason:
        yield f"The reason, in the words of {letter.recipient}: {letter.reason}"
    else:
        yield f"{letter.recipient} gave no reason; its container may have ended each time."
    text = letter.body[: SHOWN + 1].replace("\n", " ")
    yield f"The message begins: {text if len(text) <= SHOWN else f'{text[: SHOWN - 3]}...'}"


def _tries(letter: MessageChange) -> str:
    times = letter.redeliveries
    return f"it was delivered {'once' if times == 1 else f'{times} times'} and not acknowledged"


def _draft(to: str, recipient: str, lines: Sequence[str], *, in_reply_to: int) -> Draft:
    """Return a message in the turn of the agent that did not acknowledge.

    Otherwise an agent could fill the place of the hive's own messages by releasing its own.
    """
    text = "\n".join(lines)
    return Draft(SYSTEM, to, KIND, text, in_reply_to=in_reply_to, cause=recipient)
