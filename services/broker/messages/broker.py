"""The rules of messages: sending, receiving, acknowledging, and the agents that take part."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from services.broker.events import Announcer
from services.broker.holds.guard import LoopGuard
from services.broker.holds.holds import Holds
from services.broker.limits.limits import Limits
from services.broker.messages.changes import change_of
from services.broker.messages.dead_letters import DeadLetters
from services.broker.messages.inbox import MAX_LEASED, Holder
from services.broker.messages.inboxes import Inboxes
from services.broker.messages.message import (
    INBOX_OPTIONS,
    MESSAGE,
    PURGE_OPTIONS,
    RELEASE_OPTIONS,
    SEND_OPTIONS,
    Draft,
)
from services.broker.messages.store import MessageStore
from services.broker.writes import Writes
from wire.errors import (
    AccessDenied,
    Conflict,
    InvalidArgument,
    LimitExceeded,
    NotFound,
)
from wire.names import ALL_AGENTS, OPERATOR, check_agent_name
from wire.principal import Kind, Principal
from wire.records.broker import Message, MessageChange, MessageState, Purged, SendOptions

MAX_WAIT_MS: Final = 180_000
MAX_REASON: Final = 300
"""The most characters of the reason of a release."""


class Broker:
    """Durable messages between the agents, the operator and the services of the hive.

    Every method may also raise Unavailable: the store could not be used, and nothing was changed.
    """

    def __init__(
        self,
        store: MessageStore,
        dead_letters: DeadLetters,
        inboxes: Inboxes,
        limits: Limits,
        announcer: Announcer,
        writes: Writes,
        holds: Holds,
        guard: LoopGuard,
        *,
        tries: int,
    ) -> None:
        """`tries` is how often a message is handed out before it becomes a dead letter."""
        self._store = store
        self._dead_letters = dead_letters
        self._inboxes = inboxes
        self._limits = limits
        self._announcer = announcer
        self._writes = writes
        self._holds = holds
        self._guard = guard
        self._tries = tries
        self._agents: set[str] = set()

    async def recover(self) -> list[MessageChange]:
        """Take over the store from an earlier broker; once, before anything else is called.

        Returns:
            Messages that are dead letters from now on: an earlier broker was killed before it
            could park them, or the limit is lower now.
        """
        self._agents = await self._store.agents()
        await self._holds.recover()
        self._inboxes.learn_tries(
            {name: most + 1 for name, most in (await self._store.redeliveries()).items()}
        )
        return await self._dead_letters.sweep(self._tries)

    async def send(self, who: Principal, to: str, body: str, options: Mapping[str, object]) -> int:
        """Store a message from `who` and return its id, once it is on disk.

        A message to `*` is stored for each registered agent but `who`, all or none; the id is
        that of the first.

        Raises:
            AccessDenied: only services may set the option `kind`, and only the operator and the
                manager `interrupt`; or `who` may not write to `to`.
            Conflict: `who` or `to` is held because of a loop between them.
            InvalidArgument: an option is unknown or out of its bounds.
            LimitExceeded: the body is too large, `who` sends too much, or too many messages wait in
                an inbox; what to do.
            NotFound: there is no such recipient, or the caller has no message `in_reply_to`.
        """
        chosen = SEND_OPTIONS.parse(options)
        if chosen.kind != MESSAGE and who.voice != "system":
            raise AccessDenied(
                "Only the services of the hive may set the kind of a message; leave the option out."
            )
        _check_interrupt(who, chosen)
        self._limits.check_recipient(who, to)
        everybody = to == ALL_AGENTS
        self._guard.check(who, to)
        self._limits.spend(who, body, max(1, len(self._agents - {who.name})) if everybody else 1)
        draft = Draft(
            sender=who.voice,
            recipient=to,
            kind=chosen.kind,
            body=body,
            urgent=chosen.urgent,
            interrupt=chosen.interrupt,
            in_reply_to=chosen.in_reply_to or 0,
            dedupe_key=_dedupe_key(who, chosen),
            traceparent=chosen.traceparent or "",
        )
        work = self._send(who, draft, everybody=everybody)
        return await self._writes.carry_out_in_turn(who.voice, len(body), work)

    async def receive(
        self,
        who: Principal,
        holder: Holder,
        limit: int,
        timeout_ms: int,
        *,
        urgent: bool = False,
    ) -> list[Message]:
        """Lease the next messages to `who` to its connection `holder`; wait for the first.

        The operator's messages come first, then those of the hive, then one of each sender in turn;
        in each group, urgent ones come first. A held agent gets only urgent ones of the operator
        and the hive.

        Args:
            who: an agent or the operator.
            holder: the lease ends when this connection leaves the bus.
            limit: the most messages, 1 or more; at most 1000 and about 4 MiB of text come at once.
            timeout_ms: how long to wait for the first, 0 to 180,000; then the answer is empty.
            urgent: whether to lease urgent messages alone.

        Raises:
            InvalidArgument: an argument is out of its bounds.
            LimitExceeded: too many messages are leased, or too many calls wait.
            NotFound: the agent is not (or no longer) registered.
            Stopping: the broker stops.
        """
        if limit < 1:
            raise InvalidArgument("0 is not a valid max: use 1 or more.")
        if timeout_ms > MAX_WAIT_MS:
            raise InvalidArgument(
                f"{timeout_ms} is not a valid timeout_ms: use at most {MAX_WAIT_MS}."
            )
        messages = await self._inboxes.lease(
            who.voice, holder, limit, timeout_ms / 1000, urgent=urgent
        )
        self._announcer.announce([change_of(m, MessageState.LEASED) for m in messages])
        return messages

    async def acknowledge(
        self, who: Principal, holder: str, ids: Sequence[int], *, cancelled: bool = False
    ) -> None:
        """Mark received messages as done; those that are done already stay so.

        An agent may acknowledge what it received unless another connection leases it now. So a
        restart of the broker, which ends all leases, does not make agents repeat their work. The
        operator may acknowledge its messages without having received them.

        With `cancelled` the messages show that their turn was cancelled.

        Raises:
            Conflict: some ids are leased by other connections, or were never received.
            NotFound: some ids are not in the inbox.
            In both cases the other ids were acknowledged.
        """
        _check_count(ids)
        await self._writes.carry_out(self._acknowledge(who, holder, ids, cancelled=cancelled))

    async def release(
        self,
        who: Principal,
        holder: str,
        ids: Sequence[int],
        options: Mapping[str, object] = MappingProxyType({}),
        *,
        uncounted: bool = False,
    ) -> None:
        """End leases of `holder`: the messages are queued again, as redeliveries, or parked.

        Ids that `holder` does not lease stay as they are.

        Args:
            who: an agent or the operator.
            holder: the connection of `who`.
            ids: the messages.
            options: see ReleaseOptions. A long reason is cut; its line breaks become spaces.
            uncounted: do not count the delivery. For each message that is possible a limited number
                of times; then it counts.

        Raises:
            InvalidArgument: an option is unknown.
        """
        _check_count(ids)
        reason = " ".join(RELEASE_OPTIONS.parse(options).reason.split())[:MAX_REASON]
        await self._writes.carry_out(
            self._inboxes.release(who.voice, holder, ids, reason=reason, uncounted=uncounted)
        )

    async def retract(self, who: Principal, message_id: int) -> None:
        """Take back a message that `who` sent and that its recipient does not have yet.

        The first of the messages to `*` stands for all of them. A message that was taken back
        already stays so.

        Raises:
            Conflict: its recipient is working on it, or it is done; the sentence says what to do.
                The other copies of a message to `*` were taken back.
            NotFound: `who` has sent no such message.
        """
        await self._writes.carry_out(self._retract(who, message_id))

    async def set_inbox_options(self, name: str, options: Mapping[str, object]) -> None:
        """Set the limits of the inbox of an agent; those that are left out have their defaults.

        Raises:
            InvalidArgument: an option is unknown or out of its bounds.
            NotFound: the agent is not registered.
        """
        most = INBOX_OPTIONS.parse(options).max_redeliveries
        await self._writes.carry_out(self._set_redeliveries(name, most))

    async def register_agent(self, name: str) -> None:
        """Accept messages for the agent `name` from now on, if it is not registered already.

        Raises:
            InvalidArgument: the name is not valid for an agent.
        """
        check_agent_name(name)
        await self._store.register(name)
        self._agents.add(name)

    async def unregister_agent(self, name: str) -> None:
        """Refuse messages to the agent `name` from now on; its messages wait for its return.

        Its hold ends. Its waiting calls of Receive end with NotFound.

        Raises:
            NotFound: the agent is not registered.
        """
        await self._writes.carry_out(self._unregister(name))

    async def waiting(self) -> set[str]:
        """Return the recipients of messages that are queued or leased.

        A held agent is one of them only if it has a message that it gets nevertheless.
        """
        waiting = await self._store.waiting()
        held = {name for name in waiting if self._holds.is_held(name)}
        if not held:
            return waiting
        return waiting - held | held & await self._store.waiting(held=True)

    async def requeue(self, ids: Sequence[int]) -> None:
        """Queue dead letters again, with as many further tries as a new message has.

        Raises:
            NotFound: some ids are not dead letters; the others were queued.
        """
        _check_count(ids)
        _check_dead(ids, await self._writes.carry_out(self._requeue(ids)))

    async def drop(self, ids: Sequence[int]) -> None:
        """End dead letters; they stay in the history.

        Raises:
            NotFound: some ids are not dead letters; the others were dropped.
        """
        _check_count(ids)
        _check_dead(ids, await self._writes.carry_out(self._drop(ids)))

    async def purge(self, name: str, options: Mapping[str, object]) -> Purged:
        """Drop the queued messages of an inbox; they stay in the history.

        Leased messages and dead letters stay as they are.

        Args:
            name: an agent, also one that is not registered any more, or the operator.
            options: see PurgeOptions.

        Raises:
            InvalidArgument: an option is unknown.
            NotFound: there is no such inbox.
        """
        chosen = PURGE_OPTIONS.parse(options)
        purged = await self._writes.carry_out(self._inboxes.purge(name, chosen.sender))
        if purged == Purged(0, 0) and name != OPERATOR and name not in self._agents:
            raise NotFound(
                f"There is no inbox {name[:64]!r}; `hivectl list` shows all agents, and the "
                "operator's inbox is `operator`."
            )
        return purged

    async def _send(self, who: Principal, draft: Draft, *, everybody: bool) -> int:
        store = self._store.broadcast if everybody else self._store.append
        message_id, changes = await store(draft)
        self._announcer.announce(changes)
        if changes:
            await self._guard.wrote(who, draft.recipient, draft.body)
        return message_id

    async def _acknowledge(
        self, who: Principal, holder: str, ids: Sequence[int], *, cancelled: bool
    ) -> None:
        name = who.voice
        outcome, others = await self._inboxes.acknowledge(
            name, holder, ids, unreceived=not who.is_agent, cancelled=cancelled
        )
        self._announcer.announce(outcome.done)
        if others or outcome.unreceived:
            refused = _listed([*others, *outcome.unreceived])
            raise Conflict(
                f"Messages {refused} were not acknowledged: only the connection that received a "
                "message may acknowledge it."
            )
        if outcome.unknown:
            raise NotFound(f"The inbox of {name} has no message {_listed(outcome.unknown)}.")

    async def _retract(self, who: Principal, message_id: int) -> None:
        kept = []
        for one in await self._store.sent(who.voice, message_id):
            if one.state is not MessageState.RETRACTED:
                change = await self._inboxes.retract(one.recipient, one.id)
                kept += [] if change else [one]
        if kept:
            raise Conflict(" ".join(_kept(one) for one in kept[:10]))

    async def _set_redeliveries(self, name: str, most: int | None) -> None:
        tries = None if most is None else most + 1
        if name in self._agents and self._inboxes.own_tries(name) == tries:
            return  # lifecycle repeats it at each start of the agent
        await self._store.set_redeliveries(name, most)
        await self._inboxes.set_tries(name, tries)

    async def _requeue(self, ids: Sequence[int]) -> list[int]:
        changed = await self._dead_letters.requeue(ids)
        self._announcer.announce(changed.letters)
        return changed.unknown

    async def _drop(self, ids: Sequence[int]) -> list[int]:
        changed = await self._dead_letters.drop(ids)
        self._announcer.announce(changed.letters)
        return changed.unknown

    async def _unregister(self, name: str) -> None:
        await self._store.unregister(name)
        self._agents.discard(name)
        if self._holds.is_held(name):
            await self._holds.unhold(name)
        self._inboxes.forget(name)


def _dedupe_key(who: Principal, options: SendOptions) -> str | None:
    """Return the key to store: services share the sender `system`, but not their keys."""
    if options.dedupe_key is None or who.kind is not Kind.SERVICE:
        return options.dedupe_key
    return f"{who.name}:{options.dedupe_key}"


def _check_interrupt(who: Principal, options: SendOptions) -> None:
    if not options.interrupt:
        return
    if not who.is_operator and who.kind is not Kind.MANAGER:
        raise AccessDenied(
            "Only the operator and the manager may interrupt a tool call; leave `interrupt` out."
        )
    if not options.urgent:
        raise InvalidArgument("`interrupt` is for urgent messages; set `urgent`, too.")


def _kept(one: MessageChange) -> str:
    """Return why a message was not taken back, and what to do."""
    if one.state in (MessageState.QUEUED, MessageState.DEAD):
        why = (
            f"{one.recipient} is working on it; the operator can end that turn with `hivectl "
            f"cancel {one.recipient}`"
        )
    else:
        why = f"it is {one.state} already"
    return f"Message {one.id} was not taken back: {why}."


def _check_count(ids: Sequence[int]) -> None:
    if len(ids) > MAX_LEASED:
        raise LimitExceeded(f"{len(ids)} ids are too many: give at most {MAX_LEASED}.")


def _check_dead(ids: Sequence[int], unknown: Sequence[int]) -> None:
    if unknown:
        rest = " The others were changed." if len(unknown) < len(set(ids)) else ""
        raise NotFound(
            f"Not dead letters: {_listed(unknown)}; `hivectl dead-letters` lists all of them.{rest}"
        )


def _listed(ids: Sequence[int]) -> str:
    shown = ", ".join(str(i) for i in ids[:10])
    return shown if len(ids) <= 10 else f"{shown} and {len(ids) - 10} more"
