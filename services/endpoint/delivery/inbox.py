"""The agent's inbox: one waiting Receive for all connections of the endpoint.

Calls that want urgent messages alone share a Receive of their own, ReceiveUrgent.

A Receive that waits in the broker cannot be cancelled. So it belongs to the endpoint, not to the
call that started it: when that call is cancelled, the next call takes the Receive over, and a
message that arrives while no call waits is released, uncounted: no client has seen it. dbus-daemon
allows 128 unanswered calls; the inbox uses two of them.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol

from services.endpoint.delivery.held_messages import HeldMessages, Holder
from services.tasks import Tasks
from wire.errors import HiveError, Stopping, Unavailable
from wire.records.broker import Message

log = logging.getLogger(__name__)

BATCH: Final = 2
"""Messages of one Receive. With bodies of 1 MiB each, more would not fit into memory."""

MAX_CHARACTERS: Final = 128 * 1024
"""Characters of bodies. An answer that has more takes no further message."""


class Broker(Protocol):
    """The methods of the broker that the inbox uses."""

    async def receive(self, maximum: int, seconds: float, *, urgent: bool) -> list[Message]:
        """Lease up to `maximum` messages, or urgent ones; wait up to `seconds` for the first."""

    async def acknowledge(self, ids: list[int], *, cancelled: bool) -> None:
        """Acknowledge the messages; with `cancelled`, because their turn was cancelled."""

    async def release(self, ids: list[int], *, reason: str, uncounted: bool) -> None:
        """Queue the messages again; with `uncounted`, the delivery does not count."""


@dataclass(eq=False, slots=True)
class _Waiter:
    holder: Holder
    maximum: int
    deadline: float
    messages: asyncio.Future[list[Message]]


@dataclass(eq=False, slots=True)
class _Line:
    """The calls that wait for messages, or for urgent ones, and the Receive that they share."""

    urgent: bool
    waiters: list[_Waiter] = field(default_factory=list)
    receiver: asyncio.Task[None] | None = None
    until: float = 0.0
    """When the Receive ends."""


class Inbox:
    """The messages of one agent, received for all connections of its endpoint."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.leases = HeldMessages()
        self._all = _Line(urgent=False)
        self._urgent = _Line(urgent=True)
        self._tasks = Tasks()

    async def receive(
        self, holder: Holder, maximum: int, seconds: float, *, urgent: bool = False
    ) -> list[Message]:
        """Lease up to `maximum` messages for `holder`; wait up to `seconds` for the first.

        With `urgent` only urgent ones. When the call is cancelled, messages that arrive for it are
        released.

        Raises:
            HiveError: the broker's error, if there is no message yet.
        """
        line = self._urgent if urgent else self._all
        messages = await self._first(line, holder, maximum, seconds)
        ids = [message.id for message in messages]
        try:
            while messages and len(messages) % BATCH == 0 and len(messages) < maximum:
                if sum(len(message.body) for message in messages) > MAX_CHARACTERS:
                    break
                more = await self._fetch(line, holder, min(BATCH, maximum - len(messages)))
                messages += more
                ids += [message.id for message in more]
                if not more:
                    break
        except asyncio.CancelledError:
            await self.release(ids, uncounted=True)
            raise
        except HiveError:
            log.info("The broker stopped meanwhile; the answer has the messages until then.")
        return messages

    def acknowledge_delivered(self, holder: Holder) -> None:
        """Start to acknowledge the messages that the client of `holder` already has.

        The broker handles calls in order, so the caller need not wait for the acknowledgement.
        """
        if delivered := self.leases.delivered(holder):
            self._tasks.start_detached(self._acknowledge_quietly(delivered), "acknowledge")

    async def acknowledge(self, holder: Holder, ids: list[int], *, cancelled: bool = False) -> None:
        """Acknowledge `ids`, and the messages delivered to other connections.

        Args:
            holder: the connection that calls.
            ids: the messages.
            cancelled: whether the turn was cancelled that had the messages.

        Raises:
            HiveError: the broker's error for `ids`.
        """
        others = [id for id in self.leases.delivered_to_others(holder) if id not in ids]
        if ids:
            await self._broker.acknowledge(ids, cancelled=cancelled)
            self.leases.settle(ids)
        await self._acknowledge_quietly(others, cancelled=cancelled)

    async def give_back(
        self, holder: Holder, ids: list[int], *, reason: str = "", uncounted: bool = False
    ) -> None:
        """Release `ids`, and the messages delivered to other connections.

        Args:
            holder: the connection that calls.
            ids: the messages.
            reason: why, for people.
            uncounted: whether the deliveries do not count.

        Raises:
            HiveError: the broker's error for `ids`.
        """
        others = [id for id in self.leases.delivered_to_others(holder) if id not in ids]
        if ids:
            await self._broker.release(ids, reason=reason, uncounted=uncounted)
            self.leases.settle(ids)
        await self.release(others, reason=reason, uncounted=uncounted)

    async def release(
        self, ids: Iterable[int], *, reason: str = "", uncounted: bool = False
    ) -> None:
        """Release those of `ids` that are still held; return when the broker has queued them.

        The release goes on when the caller is cancelled: nobody else would do it.
        """
        held = self.leases.settle(ids)
        if held:
            await self._tasks.finish(self._release(held, reason=reason, uncounted=uncounted))

    async def release_all(self, holder: Holder) -> None:
        """Release everything that `holder` holds: its connection has ended."""
        await self.release(self.leases.held(holder))

    async def close(self) -> None:
        """Cancel the waiting Receive. The broker takes back by itself what it leased meanwhile."""
        await self._tasks.cancel()

    async def _first(
        self, line: _Line, holder: Holder, maximum: int, seconds: float
    ) -> list[Message]:
        size = min(BATCH, maximum)
        if seconds <= 0:
            return await self._fetch(line, holder, size)
        loop = asyncio.get_running_loop()
        waiter = _Waiter(holder, size, loop.time() + seconds, loop.create_future())
        line.waiters.append(waiter)
        timer = None
        if line.receiver is None:
            line.receiver = self._tasks.start(self._receive_for(line), "receive")
        elif waiter.deadline < line.until:
            timer = loop.call_at(waiter.deadline, _expire, waiter)
        return await self._await(waiter.messages, lambda: _drop(line, waiter, timer))

    async def _fetch(self, line: _Line, holder: Holder, maximum: int) -> list[Message]:
        """Lease queued messages. A call in flight goes on when its caller is cancelled."""

        async def fetch() -> list[Message]:
            messages = await self._broker.receive(maximum, 0, urgent=line.urgent)
            self.leases.lease(holder, (message.id for message in messages))
            return messages

        return await self._await(self._tasks.start(fetch(), "fetch"), lambda: None)

    async def _await(
        self, messages: asyncio.Future[list[Message]], finish: Callable[[], None]
    ) -> list[Message]:
        """Wait for `messages`. When cancelled, release them, now or when they arrive."""
        try:
            return await asyncio.shield(messages)
        except asyncio.CancelledError:
            messages.add_done_callback(self._release_unwanted)
            raise
        finally:
            finish()

    def _release_unwanted(self, messages: asyncio.Future[list[Message]]) -> None:
        if not messages.cancelled() and messages.exception() is None and messages.result():
            self._tasks.start_detached(
                self.release([message.id for message in messages.result()], uncounted=True),
                "release",
            )

    async def _receive_for(self, line: _Line) -> None:
        """Keep one Receive waiting as long as there are waiters."""
        loop = asyncio.get_running_loop()
        try:
            while line.waiters:
                line.until = min(waiter.deadline for waiter in line.waiters)
                seconds = max(0.0, line.until - loop.time())
                size = line.waiters[0].maximum
                messages = await self._broker.receive(size, seconds, urgent=line.urgent)
                await self._distribute(line, messages)
                for waiter in [w for w in line.waiters if w.deadline <= loop.time()]:
                    _expire(waiter)
                    line.waiters.remove(waiter)
        except Exception as error:
            if not isinstance(error, HiveError):
                log.exception("Waiting for messages failed.")
            for waiter in line.waiters:
                if not waiter.messages.done():
                    waiter.messages.set_exception(error)
            line.waiters.clear()
        finally:
            line.receiver = None

    async def _distribute(self, line: _Line, messages: list[Message]) -> None:
        """Give `messages` to the longest waiting callers; release those that nobody waits for."""
        while messages and line.waiters:
            waiter = line.waiters.pop(0)
            if waiter.messages.done():
                continue
            share, messages = messages[: waiter.maximum], messages[waiter.maximum :]
            self.leases.lease(waiter.holder, (message.id for message in share))
            waiter.messages.set_result(share)
        if messages:
            await self._release([message.id for message in messages], uncounted=True)

    async def _acknowledge_quietly(self, ids: list[int], *, cancelled: bool = False) -> None:
        held = self.leases.settle(ids)
        if not held:
            return
        try:
            await self._broker.acknowledge(held, cancelled=cancelled)
        except HiveError as error:
            # They are delivered again, with a higher redelivery count: nothing is lost.
            log.info("The broker refused an acknowledgement: %s", error)
            await self._release(held)

    async def _release(self, ids: list[int], *, reason: str = "", uncounted: bool = False) -> None:
        try:
            await self._broker.release(ids, reason=reason, uncounted=uncounted)
        except (Unavailable, Stopping):
            log.info("The broker is not running; it queues leased messages again when it starts.")
        except HiveError as error:
            log.info("The broker refused a release: %s", error)


def _drop(line: _Line, waiter: _Waiter, timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
    if waiter in line.waiters:
        line.waiters.remove(waiter)


def _expire(waiter: _Waiter) -> None:
    if not waiter.messages.done():
        waiter.messages.set_result([])
