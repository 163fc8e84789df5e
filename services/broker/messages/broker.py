"""The rules of the broker: who may say what to whom, and who holds which message."""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeVar

from services.broker.arguments import parse
from services.broker.events import Events, NoListener
from services.broker.limits.limits import Limits
from services.broker.messages.dead_letters import DeadLetter, DeadLetters
from services.broker.messages.inbox import MAX_LEASED, Holder, Inbox, Lease
from services.broker.messages.invocations import Invocations
from services.broker.messages.message import MESSAGE, Draft, Message, SendOptions
from services.broker.messages.store import HandedOut, MessageStore
from services.broker.storage.database import Database
from services.config import BrokerConfig
from wire.errors import (
    AccessDenied,
    Conflict,
    InvalidArgument,
    LimitExceeded,
    NotFound,
    Unavailable,
)
from wire.names import AGENT_NAME, ALL_AGENTS, RESERVED_NAMES
from wire.principal import Kind, Principal

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_WAIT_MS: Final = 180_000

LARGE: Final = 64 * 1024
"""Characters from which on a text is written in its sender's turn: each word of it goes into the
index of words, and everybody who writes waits for that."""

_DEFAULTS: Final = BrokerConfig()


class Broker:
    """Durable messages between the agents, the operator and the services of the hive.

    Every method may also raise Unavailable: the store could not be used, nothing was changed.
    """

    events: Events

    def __init__(
        self,
        database: Database,
        config: BrokerConfig = _DEFAULTS,
        invocations: Invocations | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """A broker on `database`, which stays its maker's to close; made in a running loop.

        `invocations` knows the containers that run; `clock`, in seconds, measures the rates.
        """
        self.events = NoListener()
        self._store = MessageStore(database)
        self._dead_letters = DeadLetters(database)
        self._limits = Limits(config, clock)
        self._tries = config.max_redeliveries + 1
        self._invocations = invocations or Invocations()
        self._stopping = asyncio.get_running_loop().create_future()
        self._inboxes: dict[str, Inbox] = {}
        self._agents: set[str] = set()
        self._running: set[asyncio.Task[Any]] = set()
        # One large text of each sender at a time: who writes many waits for itself.
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        # Whose connections have leases, and so are watched.
        self._holders: defaultdict[str, set[Inbox]] = defaultdict(set)

    async def recover(self) -> list[DeadLetter]:
        """Take over what an earlier broker has left; once, before anything else is called.

        Returns what it has parked: a broker was killed before it could, or the limit is lower now.
        """
        self._agents = await self._store.agents()
        return await self._dead_letters.sweep(self._tries)

    def stop(self) -> None:
        """End the waiting calls of Receive with Stopping; later ones end so, too."""
        if not self._stopping.done():
            self._stopping.set_result(None)

    async def close(self) -> None:
        """Stop, and wait for what is being written."""
        self.stop()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def send(self, who: Principal, to: str, body: str, options: Mapping[str, Any]) -> int:
        """Store a message from `who` and return its id, once it is on disk.

        To `*` a message is stored for each registered agent but `who`, all or none; the id is
        that of the first.

        Raises:
            AccessDenied: only services may set the option `kind`; or `who` may not write to `to`.
            InvalidArgument: an option is unknown or out of its bounds.
            LimitExceeded: the body is too large, or `who` sends too much; when to try again.
            NotFound: there is no such recipient, or no message `in_reply_to` of the caller's.
        """
        chosen = parse(SendOptions, options, "option of Send")
        if chosen.kind != MESSAGE and who.voice != "system":
            raise AccessDenied("Only the services of the hive set the kind of a message.")
        self._limits.check_recipient(who, to)
        everybody = to == ALL_AGENTS
        self._limits.spend(who, body, max(1, len(self._agents - {who.name})) if everybody else 1)
        draft = Draft(
            sender=who.voice,
            recipient=to,
            kind=chosen.kind,
            body=body,
            urgent=chosen.urgent,
            in_reply_to=chosen.in_reply_to or 0,
            dedupe_key=_dedupe_key(who, chosen),
        )
        work = self._send_to_all(draft) if everybody else self._send(draft)
        return await self.to_the_end(self.in_turn(who, len(body), work))

    async def receive(
        self, who: Principal, holder: Holder, limit: int, timeout_ms: int
    ) -> list[Message]:
        """Lease the oldest messages to `who` to its connection `holder`; waits for the first.

        Args:
            who: an agent or the operator.
            holder: the lease ends when it leaves the bus.
            limit: the most messages, 1 or more; no more than 1000 or 4 MiB of text come at once.
            timeout_ms: how long to wait for the first, 0 to 180,000; then the answer is empty.

        Raises:
            InvalidArgument: an argument is out of its bounds.
            LimitExceeded: too many of its messages are out, or too many calls wait.
            NotFound: the agent is not (or no longer) registered.
            Stopping: the broker stops.
        """
        if limit < 1:
            raise InvalidArgument("max is 0; ask for at least one message.")
        if timeout_ms > MAX_WAIT_MS:
            raise InvalidArgument(f"timeout_ms is {timeout_ms}; the most is {MAX_WAIT_MS}.")
        inbox = self._inbox(who.voice)
        messages = await inbox.take(holder, limit, timeout_ms / 1000)
        if messages:
            self._watch(holder, inbox)
        for message in messages:
            self.events.delivered(message)
        return messages

    async def acknowledge(self, who: Principal, holder: str, ids: Sequence[int]) -> None:
        """Mark received messages as done. Done already: nothing happens.

        An agent acknowledges what it received, as long as nobody else holds it now; so a
        restart of the broker, which ends all leases, does not make it do its work again. The
        operator acknowledges its messages without having received them.

        Raises:
            Conflict, NotFound: some ids could not be acknowledged; the others were.
        """
        _check_count(ids)
        await self.to_the_end(self._acknowledge(who, holder, ids))

    async def release(self, who: Principal, holder: str, ids: Sequence[int]) -> None:
        """Give back what `holder` has leased: it is queued again, as a redelivery, or parked.

        Ids that it does not hold stay as they are.
        """
        _check_count(ids)
        inbox = self._inboxes.get(who.voice)
        if inbox is None:
            return
        parking = self._queue_again(inbox.release(holder, ids))
        if parking:
            await asyncio.shield(parking)

    async def register_agent(self, name: str) -> None:
        """Take messages for the agent `name` from now on. Registered already: nothing happens.

        Raises:
            InvalidArgument: it is no name for an agent.
        """
        if not AGENT_NAME.fullmatch(name) or name in RESERVED_NAMES:
            raise InvalidArgument(
                f"{name[:64]!r} is no name for an agent: a lower-case letter, then up to eight "
                f"lower-case letters, digits or hyphens; not {' or '.join(sorted(RESERVED_NAMES))}."
            )
        await self._store.register(name)
        self._agents.add(name)

    async def unregister_agent(self, name: str) -> None:
        """Refuse messages to the agent `name` from now on; what it has waits for its return.

        Its waiting calls of Receive end with NotFound.

        Raises:
            NotFound: it is not registered.
        """
        await self.to_the_end(self._unregister(name))

    async def waiting(self) -> set[str]:
        """Whose inboxes have messages that are not done: queued, or leased."""
        return await self._store.waiting()

    async def requeue(self, ids: Sequence[int]) -> None:
        """Queue dead letters again, with as many further tries as a new message has.

        Raises:
            NotFound: some ids are no dead letters; the others were queued.
        """
        _check_count(ids)
        _check_dead(ids, await self.to_the_end(self._requeue(ids)))

    async def drop(self, ids: Sequence[int]) -> None:
        """End dead letters; they stay in the history.

        Raises:
            NotFound: some ids are no dead letters; the others were dropped.
        """
        _check_count(ids)
        _check_dead(ids, await self.to_the_end(self._drop(ids)))

    def leased(self) -> frozenset[int]:
        """The ids of the messages that somebody holds now."""
        return frozenset(i for inbox in self._inboxes.values() for i in inbox.leases)

    def announce(self, message_id: int, sender: str, to: str, kind: str) -> None:
        """A message waits in the inbox `to`: say so, and wake who waits for it."""
        self.events.queued(message_id, sender, to, kind)
        if to in self._inboxes:
            self._inboxes[to].wake()

    def permit(self, who: Principal, to: str, text: str) -> None:
        """Note that `who` says `text` to `to`, if it may; whether there is a `to` is not looked at.

        Raises:
            AccessDenied: it may not write to `to`.
            InvalidArgument: the text is empty.
            LimitExceeded: it is too large, or `who` says too much; when to try again.
        """
        self._limits.check_recipient(who, to)
        self._limits.spend(who, text)

    def spend(self, who: Principal, text: str) -> None:
        """As `permit`, for what agents may always say: answers, and reminders to themselves."""
        self._limits.spend(who, text)

    async def in_turn(self, who: Principal, size: int, work: Coroutine[Any, Any, T]) -> T:
        """Do `work`, which writes a text of `size` characters; after earlier large ones of `who`.

        What comes after a large one waits, too, so that nothing overtakes it.
        """
        turn = self._turns[who.voice]
        if size < LARGE and not turn.locked():
            return await work
        async with turn:
            return await work

    async def to_the_end(self, work: Coroutine[Any, Any, T]) -> T:
        """Do `work` even if its caller is cancelled (it left the bus) meanwhile.

        What is on disk by then must be announced, or a waiting Receive would sleep through it.
        """
        return await asyncio.shield(self._start(work))

    def _start(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def _send(self, draft: Draft) -> int:
        message_id, new = await self._store.append(draft)
        if new:
            self.announce(message_id, draft.sender, draft.recipient, draft.kind)
        return message_id

    async def _send_to_all(self, draft: Draft) -> int:
        message_id, stored = await self._store.broadcast(draft)
        for new, to in stored:
            self.announce(new, draft.sender, to, draft.kind)
        return message_id

    async def _requeue(self, ids: Sequence[int]) -> list[int]:
        changed = await self._dead_letters.requeue(ids)
        for letter in changed.letters:
            self.announce(letter.id, letter.sender, letter.recipient, letter.kind)
        return changed.unknown

    async def _drop(self, ids: Sequence[int]) -> list[int]:
        changed = await self._dead_letters.drop(ids)
        for letter in changed.letters:
            self.events.dropped(letter.id, letter.recipient)
        return changed.unknown

    async def _acknowledge(self, who: Principal, holder: str, ids: Sequence[int]) -> None:
        name = who.voice
        inbox = self._inbox(name)
        if any(i not in inbox.leases for i in ids):
            # A late one. What is being handed out to somebody else now is not its to end.
            async with inbox.handing_out:
                pass
        taken = [i for i in ids if i in inbox.leases and inbox.leases[i].holder != holder]
        mine = [i for i in ids if i not in taken]
        outcome = await self._store.acknowledge(name, mine, unreceived=not who.is_agent)
        for i in mine:
            inbox.leases.pop(i, None)
        for i in outcome.done:
            self.events.acknowledged(i, name)
        if taken or outcome.unreceived:
            refused = _listed([*taken, *outcome.unreceived])
            raise Conflict(
                f"Not acknowledged: {refused}; a message is acknowledged by the connection that "
                "has received it."
            )
        if outcome.unknown:
            raise NotFound(f"The inbox of {name} has no message {_listed(outcome.unknown)}.")

    async def _unregister(self, name: str) -> None:
        await self._store.unregister(name)
        self._agents.discard(name)
        if name in self._inboxes:
            self._inboxes[name].wake()

    def _inbox(self, name: str) -> Inbox:
        if name not in self._inboxes:
            hand_out = partial(self._hand_out, name)
            self._inboxes[name] = Inbox(name, hand_out, self._queue_again, self._stopping)
        return self._inboxes[name]

    async def _hand_out(self, name: str, limit: int, without: Collection[int]) -> HandedOut:
        invocation = self._invocations.current(name)
        handed = await self._store.hand_out(
            name, limit, without, tries=self._tries, invocation=invocation
        )
        return replace(
            handed, messages=[self._invocations.mark_earlier(m) for m in handed.messages]
        )

    def _watch(self, holder: Holder, inbox: Inbox) -> None:
        if holder.name not in self._holders:
            holder.left.add_done_callback(lambda _: self._end(holder.name))
        self._holders[holder.name].add(inbox)

    def _end(self, holder: str) -> None:
        """Its connection has left the bus, so nobody will acknowledge what it holds."""
        for inbox in self._holders.pop(holder):
            self._queue_again(inbox.release(holder))

    def _queue_again(self, ended: Sequence[Lease]) -> "asyncio.Task[None] | None":
        """What was leased waits again, or is parked by the task that is returned.

        Nothing is handed out more often than it may be, even before that task has ended.
        """
        for lease in ended:
            if not lease.last:
                m = lease.message
                self.announce(m.id, m.sender, m.recipient, m.kind)
        last = [lease.message.id for lease in ended if lease.last]
        return self._start(self._park(last)) if last else None

    async def _park(self, ids: Collection[int]) -> None:
        try:
            letters = await self._dead_letters.park(ids)
        except Unavailable as error:
            log.error("Dead letters %s are parked when the broker starts again: %s", ids, error)
            return
        for letter in letters:
            self.events.parked(letter.id, letter.recipient, letter.redeliveries)


def _dedupe_key(who: Principal, options: SendOptions) -> str | None:
    """The key, apart for each service: they share the sender `system`, not their keys."""
    if options.dedupe_key is None or who.kind is not Kind.SERVICE:
        return options.dedupe_key
    return f"{who.name}:{options.dedupe_key}"


def _check_count(ids: Sequence[int]) -> None:
    if len(ids) > MAX_LEASED:
        raise LimitExceeded(f"{len(ids)} ids are given; the most is {MAX_LEASED}.")


def _check_dead(ids: Sequence[int], unknown: Sequence[int]) -> None:
    if unknown:
        rest = " What else was named is done." if len(unknown) < len(set(ids)) else ""
        raise NotFound(
            f"No dead letters: {_listed(unknown)}; `hivectl dead-letters` lists them.{rest}"
        )


def _listed(ids: Sequence[int]) -> str:
    shown = ", ".join(str(i) for i in ids[:10])
    return shown if len(ids) <= 10 else f"{shown} and {len(ids) - 10} more"
