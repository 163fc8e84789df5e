"""Rules that must hold after any kill, checked against the evidence.

`violations(evidence)` returns one sentence for each violation. The evidence has three independent
sources, which must agree: the broker's signals in the order of the bus, the records of each client,
and the store after everything was drained.

The broker's signals have one row a message and window of 50 ms, with the latest state: an
intermediate state may never be told, and the rows of the last window are lost with a broker that is
killed. But a row counts the hand-outs until then (`Told.hand_outs`), told or not. The records of
clients have every hand-out that a client has seen, and each end of a hold. Each rule says what it
proves.
"""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Final

from bench.chaos.evidence import Evidence, Lost, Seen, Sent, Stored, Told
from wire.names import SYSTEM
from wire.records.broker import MessageState

MAX_REDELIVERIES: Final = 5
SETTLING: Final = 2 * 10**9
"""The ns after a disturbance in which a client may still note what it was handed before."""
READER: Final = "reader "
"""The clients with a connection to the bus, and so leases, of their own. An endpoint holds what its
agent's clients were handed on one connection, and may end any of these leases for another client.
"""

_ORDER: Final = {
    # The states that can follow each other while the number of hand-outs stays the same.
    MessageState.LEASED: 0,
    MessageState.DEAD: 1,
    MessageState.QUEUED: 2,
    MessageState.ACKNOWLEDGED: 3,
    MessageState.DROPPED: 3,
    MessageState.RETRACTED: 3,
    MessageState.CANCELLED: 3,
}
_ENDS: Final = frozenset(
    {
        MessageState.ACKNOWLEDGED,
        MessageState.DROPPED,
        MessageState.RETRACTED,
        MessageState.CANCELLED,
    }
)


def violations(evidence: Evidence) -> list[str]:
    """Return a sentence for each violation; empty when everything holds."""
    stored = {message.id: message for message in evidence.stored}
    return [
        *once("send", evidence.sent, ((one.id, one.body) for one in evidence.stored)),
        *_send_order(evidence.sent),
        *_results(evidence, stored),
        *_rows(evidence.rows),
        *_first_order(evidence.told, stored),
        *_seen_order(evidence.seen, stored),
        *_sightings(evidence, stored),
        *_told(evidence),
        *_held(evidence),
        *_acknowledged(evidence),
        *_counts(evidence, stored),
        *_answers(evidence, stored),
        # Last, for they are many when a run has stalled.
        *_ends(evidence),
    ]


def once(what: str, said: Mapping[str, Sent], stored: Iterable[tuple[int, str]]) -> Iterator[str]:
    """A call that returned an id is stored once, under this id; any other one at most once.

    Proves that no send is lost or doubled, and that a dedupe key holds, for every call of a client.
    """
    by_text = defaultdict(list)
    for id, text in stored:
        by_text[text].append(id)
    for key, sent in said.items():
        there, answered = by_text[sent.body], sorted(set(sent.ids))
        if len(answered) > 1:
            yield f"{what} {key} was answered several ids: {answered}"
        if len(there) > 1:
            yield f"{what} {key} is stored {len(there)} times: {there}"
        if answered and not there:
            yield f"{what} {key} returned id {answered[0]} and was lost"
        if answered and there and answered != there:
            yield f"{what} {key} returned {answered}, and is stored as {there}"


def _send_order(sent: dict[str, Sent]) -> Iterator[str]:
    """A send that returned before another one began has the smaller id: proves it for each call."""
    answered = [one for one in sent.values() if one.ids]
    ends = sorted(answered, key=lambda one: one.returned)
    highest, position = 0, 0
    for one in sorted(answered, key=lambda one: one.began):
        while ends[position].returned < one.began:
            highest = max(highest, ends[position].ids[0])
            position += 1
        if one.ids[0] < highest:
            yield f"{one.body!r} got id {one.ids[0]}, after id {highest} had been answered"


def _results(evidence: Evidence, stored: dict[int, Stored]) -> Iterator[str]:
    """A send that an agent's model saw return is stored once, from this agent, with its text.

    Proves that no send of a turn is lost, doubled or changed on its way through the endpoint.
    """
    for id, times in Counter(id for _, id, _ in evidence.results).items():
        if times > 1:
            yield f"{times} sends of models returned id {id}"
    for agent, id, body in evidence.results:
        message = stored.get(id)
        if message is None:
            yield f"a send of {agent}'s model returned id {id} and was lost"
        elif (message.sender, message.body) != (agent, body):
            yield f"message {id} of {agent}'s model is stored with another sender or text"


def _ends(evidence: Evidence) -> Iterator[str]:
    """Everything is done in the end, or a dead letter after more tries than allowed.

    Proves for each stored message that it was not forgotten, and not given up too early.
    """
    for message in evidence.stored:
        dead = message.state == "dead" and message.count > MAX_REDELIVERIES
        if message.state != "acknowledged" and not dead:
            yield (
                f"message {message.id} to {message.to} ended as {message.state} "
                f"with {message.count} redeliveries"
            )


def _rows(rows: Iterable[Told]) -> Iterator[str]:
    """Each row of a message can follow the row before it.

    Proves that the count of hand-outs never falls, also over a restart of the broker; that a row
    `leased` has a count of its own, so each hand-out that is told was counted; and that nothing
    follows an end that is told. Two hand-outs in one window are one row: `_sightings` has each of
    them, and `_acknowledged` has one after an end that was not told.
    """
    last: dict[int, Told] = {}
    for one in rows:
        before = last.get(one.id)
        last[one.id] = one
        if before is None:
            continue
        if before.state in _ENDS:
            yield f"message {one.id} was {one.state} after it was {before.state}"
        elif _progress(one) <= _progress(before):
            yield (
                f"message {one.id} was {one.state} with {one.count} redeliveries, after it was "
                f"{before.state} with {before.count}"
            )


def _progress(row: Told) -> tuple[int, int]:
    return row.hand_outs, _ORDER[row.state]


def _first_order(told: Iterable[Told | Lost], stored: Mapping[int, Stored]) -> Iterator[str]:
    """A first hand-out is newer than all that the inbox handed out before of the same sender.

    Senders take turns, and messages of the hive take the turns of several agents.

    Proves the order between signals: a row tells of the time since the signal before. Within one
    signal, and for hand-outs that a dead broker may not have told, only `_seen_order` proves it.
    """
    newest: dict[tuple[str, str], int] = {}
    pending: dict[tuple[str, str], int] = {}
    lives: dict[int, int] = {}
    handed_out: set[int] = set()
    life = signal = 0
    for one in told:
        if isinstance(one, Lost):
            life += 1
            continue
        if one.signal != signal:
            signal = one.signal
            newest |= pending
        known, lives[one.id] = lives.get(one.id, 0), life
        line = one.to, _sender(one.id, stored)
        if one.id in handed_out or not one.hand_outs or line[1] == SYSTEM:
            continue
        handed_out.add(one.id)
        # The first hand-out may have been by a broker that died before it told of it. A late
        # acknowledgement tells of such a hand-out, too.
        fresh = one.hand_outs == 1 and one.state is not MessageState.ACKNOWLEDGED
        if (known == life or fresh) and one.id < newest.get(line, 0):
            yield f"{one.to} got message {one.id} only after message {newest[line]}"
        pending[line] = max(one.id, pending.get(line, 0))


def _seen_order(seen: Iterable[Seen], stored: Mapping[int, Stored]) -> Iterator[str]:
    """A client that asks for one message after the other sees those of a sender in their order.

    Proves the order for every first hand-out to a reader or a raw client, however fast.
    """
    newest: dict[tuple[str, str], int] = {}
    for one in seen:
        line = one.client, _sender(one.id, stored)
        if one.count == 0 and not one.client.startswith("harness") and line[1] != SYSTEM:
            if one.id < newest.get(line, 0):
                yield f"{one.client} saw message {one.id} only after {newest[line]}"
            newest[line] = max(one.id, newest.get(line, 0))


def _sender(id: int, stored: Mapping[int, Stored]) -> str:
    """Return the sender of a message, or nobody's name for one that is not in the store."""
    return stored[id].sender if id in stored else ""


def _sightings(evidence: Evidence, stored: dict[int, Stored]) -> Iterator[str]:
    """Each sighting has a count of its own, which the store has counted, and the right text.

    Proves that no hand-out that a client has seen was repeated without notice: this is exact, for
    the records of clients have every hand-out, also those that no signal told.
    """
    seen_by: dict[tuple[int, int], str] = {}
    for one in evidence.seen:
        hand_out = (one.id, one.count)
        if hand_out in seen_by:
            yield (
                f"message {one.id} with {one.count} redeliveries was seen by "
                f"{seen_by[hand_out]} and by {one.client}"
            )
        seen_by[hand_out] = one.client
        message = stored.get(one.id)
        if message is None:
            yield f"{one.client} saw message {one.id}, which is not in the store"
        elif one.body is not None and message.body != one.body:
            yield f"{one.client} saw message {one.id} with another text"
        if message is not None and one.count >= message.hand_outs:
            yield (
                f"{one.client} saw message {one.id} with {one.count} redeliveries, and the store "
                f"has counted {message.hand_outs} hand-outs"
            )


def _told(evidence: Evidence) -> Iterator[str]:
    """Each sighting was announced: a row of its message proves so many hand-outs.

    A row `acknowledged` or `leased` with n redeliveries proves the hand-out n, and a row `queued`
    the one before. Only a broker that died after the last row of the message may not have told it.
    """
    proven: dict[int, int] = {}
    last: dict[int, int] = {}
    lost = -1
    for position, one in enumerate(evidence.told):
        if isinstance(one, Lost):
            lost = position
        else:
            proven[one.id] = max(one.hand_outs, proven.get(one.id, 0))
            last[one.id] = position
    for seen in evidence.seen:
        if seen.count >= proven.get(seen.id, 0) and lost <= last.get(seen.id, -1):
            yield (
                f"{seen.client} saw message {seen.id} with {seen.count} redeliveries, unannounced"
            )


def _held(evidence: Evidence) -> Iterator[str]:
    """While a reader holds a message, nobody sees a later hand-out of it.

    Proves for the operator's inbox, between kills, that a message is leased to one at a time. The
    signals cannot show this: a lease that ended and the next one may be one row. A hold lasts from
    the sighting until the reader begins to acknowledge or to give back, or the next kill.
    """
    ends: dict[tuple[str, int], list[int]] = defaultdict(list)
    for one in evidence.let_go:
        ends[one.client, one.id].append(one.at)
    by_id: dict[int, list[Seen]] = defaultdict(list)
    for seen in evidence.seen:
        by_id[seen.id].append(seen)
    began = [one.began for one in evidence.disturbances]
    for id, sightings in by_id.items():
        for first, then in pairwise(sorted(sightings, key=lambda one: one.count)):
            position = bisect_right(began, first.at)
            if position and not _is_over(evidence.disturbances[position - 1].ended, first.at):
                continue
            let_go = [at for at in ends[first.client, id] if at >= first.at]
            end = min(began[position : position + 1] + let_go, default=None)
            is_held = first.client.startswith(READER) and (end is None or then.at < end)
            if is_held and first.at < then.at and first.count < then.count:
                yield f"message {id} was seen by {then.client} while {first.client} held it"


def _is_over(ended: int, at: int) -> bool:
    return 0 < ended < at - SETTLING


def _acknowledged(evidence: Evidence) -> Iterator[str]:
    """Nobody sees a message after an Acknowledge of it has returned: proves it for each reader."""
    ended: dict[int, int] = {}
    for done in evidence.done:
        ended[done.id] = min(done.at, ended.get(done.id, done.at))
    for one in evidence.seen:
        if one.at > ended.get(one.id, one.at):
            yield f"{one.client} saw message {one.id} after its acknowledgement had returned"


def _counts(evidence: Evidence, stored: dict[int, Stored]) -> Iterator[str]:
    """The store has counted all hand-outs that were told, and each redelivery has a reason.

    Proves that no count was lost, and that redeliveries are at most the kills and the times that a
    client gave the message back. A harness gives back only after a kill.
    """
    highest: dict[int, Told] = {}
    for one in evidence.rows:
        if one.id not in highest or one.hand_outs > highest[one.id].hand_outs:
            highest[one.id] = one
    for id, row in highest.items():
        if id not in stored:
            yield f"message {id} was {row.state} and is not in the store"
        elif stored[id].hand_outs < row.hand_outs:
            yield (
                f"message {id} ended with {stored[id].count} redeliveries, after it was "
                f"{row.state} with {row.count}"
            )
    given_back = Counter(one.id for one in evidence.let_go if one.again)
    for message in evidence.stored:
        reasons = evidence.kills + given_back[message.id]
        if message.count > reasons:
            yield (
                f"message {message.id} has {message.count} redeliveries, and there were only "
                f"{reasons} kills and returns"
            )


def _answers(evidence: Evidence, stored: dict[int, Stored]) -> Iterator[str]:
    """An agent acts on a message at most once for each hand-out, as the replies in the store say.

    Proves that no turn began without a hand-out.
    """
    answers: Counter[tuple[str, int]] = Counter()
    for message in evidence.stored:
        if message.in_reply_to and message.kind == "message":
            answers[message.sender, message.in_reply_to] += 1
    for (agent, id), times in answers.items():
        if id in stored and times > stored[id].count + 1:
            yield f"{agent} answered message {id} {times} times in {stored[id].count + 1} hand-outs"
