"""Rules that must hold after any kill, checked against the evidence.

`violations(evidence)` returns one sentence for each violation. The evidence
has three independent sources, which must agree: the broker's signals in the order of the bus, the
records of each client, and the store after everything was drained.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from bench.chaos.evidence import Evidence, Said, Sent, Stored, Told

MAX_REDELIVERIES: Final = 5


def violations(evidence: Evidence) -> list[str]:
    """Return a sentence for each violation; empty when everything holds."""
    stored = {message.id: message for message in evidence.stored}
    return [
        *once("send", evidence.sent, ((one.id, one.body) for one in evidence.stored)),
        *_send_order(evidence.sent),
        *_results(evidence, stored),
        *_ends(evidence),
        *_hand_outs(evidence.told),
        *_first_order(evidence.told),
        *_sightings(evidence, stored),
        *_acknowledged(evidence),
        *_counts(evidence, stored),
        *_answers(evidence, stored),
    ]


def once(what: str, said: Mapping[str, Sent], stored: Iterable[tuple[int, str]]) -> Iterator[str]:
    """A call that returned an id is stored once, under this id; any other one at most once."""
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
    """A send that returned before another one began has the smaller id."""
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
    """A send that an agent's model saw return is stored once, from this agent, with its text."""
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
    """Everything is done in the end, or a dead letter after more tries than allowed."""
    for message in evidence.stored:
        dead = message.state == "dead" and message.count > MAX_REDELIVERIES
        if message.state != "acknowledged" and not dead:
            yield (
                f"message {message.id} to {message.to} ended as {message.state} "
                f"with {message.count} redeliveries"
            )


def _hand_outs(told: Iterable[Told]) -> Iterator[str]:
    """Each further hand-out has a higher count and a reason; none follows the acknowledgement."""
    last: dict[int, int] = {}
    out: set[int] = set()
    done: set[int] = set()
    for one in told:
        match one.said:
            case Said.LOST:
                out.clear()  # its leases lived in its memory
            case Said.QUEUED | Said.PARKED:
                out.discard(one.id)
            case Said.ACKNOWLEDGED:
                if one.id in done:
                    yield f"message {one.id} was acknowledged twice"
                done.add(one.id)
                out.discard(one.id)
            case Said.DELIVERED:
                yield from _hand_out(one, last, out, done)
                last[one.id] = max(one.count, last.get(one.id, 0))
                out.add(one.id)


def _hand_out(one: Told, last: dict[int, int], out: set[int], done: set[int]) -> Iterator[str]:
    if one.id in done:
        yield f"message {one.id} was handed out after it was acknowledged"
    if one.id in out:
        yield f"message {one.id} was handed out while somebody held it"
    if one.id in last and one.count <= last[one.id]:
        yield (
            f"message {one.id} was handed out again with {one.count} redeliveries, "
            f"after {last[one.id]}"
        )


def _first_order(told: Iterable[Told]) -> Iterator[str]:
    """A first hand-out of an inbox is newer than all that it handed out before."""
    newest: dict[str, int] = {}
    for one in told:
        if one.said is Said.DELIVERED and one.count == 0:
            if one.id < newest.get(one.to, 0):
                yield f"{one.to} got message {one.id} only after message {newest[one.to]}"
            newest[one.to] = max(one.id, newest.get(one.to, 0))


def _sightings(evidence: Evidence, stored: dict[int, Stored]) -> Iterator[str]:
    """Each sighting was announced, has a count of its own, and has the right text."""
    announced = {(one.id, one.count) for one in evidence.told if one.said is Said.DELIVERED}
    seen_by: dict[tuple[int, int], str] = {}
    for one in evidence.seen:
        hand_out = (one.id, one.count)
        if hand_out in seen_by:
            yield (
                f"message {one.id} with {one.count} redeliveries was seen by "
                f"{seen_by[hand_out]} and by {one.client}"
            )
        if hand_out not in announced:
            yield f"{one.client} saw message {one.id} with {one.count} redeliveries, unannounced"
        seen_by[hand_out] = one.client
        message = stored.get(one.id)
        if message is None:
            yield f"{one.client} saw message {one.id}, which is not in the store"
        elif one.body is not None and message.body != one.body:
            yield f"{one.client} saw message {one.id} with another text"


def _acknowledged(evidence: Evidence) -> Iterator[str]:
    """Nobody sees a message after an Acknowledge of it has returned."""
    ended: dict[int, int] = {}
    for done in evidence.done:
        ended[done.id] = min(done.at, ended.get(done.id, done.at))
    for one in evidence.seen:
        if one.at > ended.get(one.id, one.at):
            yield f"{one.client} saw message {one.id} after its acknowledgement had returned"


def _counts(evidence: Evidence, stored: dict[int, Stored]) -> Iterator[str]:
    """The final count covers all announced hand-outs, and only kills add to it."""
    times: Counter[int] = Counter()
    highest: dict[int, int] = {}
    for one in evidence.told:
        if one.said is Said.DELIVERED:
            times[one.id] += 1
            highest[one.id] = max(one.count, highest.get(one.id, 0))
    for id, count in highest.items():
        if id not in stored:
            yield f"message {id} was handed out and is not in the store"
        elif stored[id].count < count:
            yield f"message {id} ended with {stored[id].count} redeliveries, after {count}"
        elif stored[id].count - times[id] >= evidence.kills:
            yield f"message {id} has {stored[id].count} redeliveries and {times[id]} hand-outs"


def unseen(evidence: Evidence) -> int:
    """Return how many hand-outs were counted but not announced: a process died in them."""
    announced = Counter(one.id for one in evidence.told if one.said is Said.DELIVERED)
    return sum(
        max(0, message.count + (message.state != "dead") - announced[message.id])
        for message in evidence.stored
        if announced[message.id]
    )


def _answers(evidence: Evidence, stored: dict[int, Stored]) -> Iterator[str]:
    """An agent acts on a message at most once for each hand-out."""
    answers: Counter[tuple[str, int]] = Counter()
    for message in evidence.stored:
        if message.in_reply_to and message.kind == "message":
            answers[message.sender, message.in_reply_to] += 1
    for (agent, id), times in answers.items():
        if id in stored and times > stored[id].count + 1:
            yield f"{agent} answered message {id} {times} times in {stored[id].count + 1} hand-outs"
