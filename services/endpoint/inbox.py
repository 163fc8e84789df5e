"""The agent's inbox: one waiting Receive for the whole endpoint, whoever waits.

A Receive that waits in the broker cannot be taken back. So it belongs to the endpoint and not to
the call that began it: when that call is cancelled the next one takes it over, and a message that
arrives while nobody waits is released. dbus-daemon allows 128 unanswered calls; this takes one.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from services.endpoint.leases import Leases, Scope
from wire.errors import HiveError, Stopping, Unavailable

log = logging.getLogger(__name__)

Message = dict[str, Any]
"""id, from, to, kind, body, queued, redeliveries, urgent, in_reply_to."""

BATCH: Final = 2
"""Messages of one Receive. With bodies of 1 MiB each, more of them would not fit into memory."""

PLENTY: Final = 128 * 1024
"""Characters of bodies after which an answer takes no further message, whatever was asked for."""


class Broker(Protocol):
    """What the inbox needs of the broker."""

    async def receive(self, maximum: int, seconds: float) -> list[Message]:
        """Lease up to `maximum` messages, and wait up to `seconds` for the first."""

    async def acknowledge(self, ids: list[int]) -> None:
        """The messages are done with."""

    async def release(self, ids: list[int]) -> None:
        """The messages are queued again."""


@dataclass(eq=False, slots=True)
class _Waiter:
    scope: Scope
    maximum: int
    deadline: float
    messages: asyncio.Future[list[Message]]


class Inbox:
    """Receives for all connections of the endpoint, and knows what each of them holds."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.leases = Leases()
        self._waiters: list[_Waiter] = []
        self._pump: asyncio.Task[None] | None = None
        self._pump_until = 0.0
        self._tasks: set[asyncio.Task[Any]] = set()

    async def receive(self, scope: Scope, maximum: int, seconds: float) -> list[Message]:
        """Lease up to `maximum` messages for `scope`; waits up to `seconds` for the first.

        When this is cancelled, what arrives for it is released. Raises what the broker answers.
        """
        messages = await self._first(scope, maximum, seconds)
        ids = [message["id"] for message in messages]
        try:
            while messages and len(messages) % BATCH == 0 and len(messages) < maximum:
                if sum(len(message["body"]) for message in messages) > PLENTY:
                    break
                more = await self._fetch(scope, min(BATCH, maximum - len(messages)))
                messages += more
                ids += [message["id"] for message in more]
                if not more:
                    break
        except asyncio.CancelledError:
            await self.release(ids)
            raise
        except HiveError:
            log.info("The broker went away between two messages; the answer has what came before.")
        return messages

    def acknowledge_handed(self, scope: Scope) -> None:
        """Have what the client of `scope` was handed before acknowledged.

        The broker takes it before whatever it is asked next, so nobody need wait for it here.
        """
        if handed := self.leases.handed(scope):
            self._own(self._acknowledge_quietly(handed))

    async def acknowledge(self, scope: Scope, ids: list[int]) -> None:
        """Acknowledge `ids`, and what other connections were handed; raises the broker's answer."""
        others = [id for id in self.leases.handed_to_others(scope) if id not in ids]
        if ids:
            await self._broker.acknowledge(ids)
            self.leases.settle(ids)
        await self._acknowledge_quietly(others)

    async def give_back(self, scope: Scope, ids: list[int]) -> None:
        """Release `ids`, and what other connections were handed; raises the broker's answer."""
        others = [id for id in self.leases.handed_to_others(scope) if id not in ids]
        if ids:
            await self._broker.release(ids)
            self.leases.settle(ids)
        await self.release(others)

    async def release(self, ids: Iterable[int]) -> None:
        """Queue those of `ids` again that are still held; returns when that is done.

        It is done even when the caller is cancelled meanwhile: nobody else would do it.
        """
        held = self.leases.settle(ids)
        if held:
            await asyncio.shield(self._own(self._release(held)))

    async def leave(self, scope: Scope) -> None:
        """The connection has ended: release everything it holds."""
        await self.release(self.leases.held(scope))

    async def close(self) -> None:
        """End the waiting Receive. What the broker leased meanwhile it takes back by itself."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _first(self, scope: Scope, maximum: int, seconds: float) -> list[Message]:
        size = min(BATCH, maximum)
        if seconds <= 0:
            return await self._fetch(scope, size)
        loop = asyncio.get_running_loop()
        waiter = _Waiter(scope, size, loop.time() + seconds, loop.create_future())
        self._waiters.append(waiter)
        timer = None
        if self._pump is None:
            self._pump = self._own(self._pump_messages())
        elif waiter.deadline < self._pump_until:
            timer = loop.call_at(waiter.deadline, _expire, waiter)
        return await self._await(waiter.messages, lambda: self._drop(waiter, timer))

    async def _fetch(self, scope: Scope, maximum: int) -> list[Message]:
        """What is there now. A call on its way is not taken back, only its answer is."""

        async def fetch() -> list[Message]:
            messages = await self._broker.receive(maximum, 0)
            self.leases.take(scope, (message["id"] for message in messages))
            return messages

        return await self._await(self._own(fetch()), lambda: None)

    async def _await(
        self, messages: asyncio.Future[list[Message]], finish: Callable[[], None]
    ) -> list[Message]:
        """Wait for `messages`; cancelled, release them, whether they are there or still come."""
        try:
            return await asyncio.shield(messages)
        except asyncio.CancelledError:
            messages.add_done_callback(self._release_unwanted)
            raise
        finally:
            finish()

    def _release_unwanted(self, messages: asyncio.Future[list[Message]]) -> None:
        if not messages.cancelled() and messages.exception() is None and messages.result():
            self._own(self.release([message["id"] for message in messages.result()]))

    def _drop(self, waiter: _Waiter, timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()
        if waiter in self._waiters:
            self._waiters.remove(waiter)

    async def _pump_messages(self) -> None:
        """Keep one Receive waiting for as long as anybody waits."""
        loop = asyncio.get_running_loop()
        try:
            while self._waiters:
                self._pump_until = min(waiter.deadline for waiter in self._waiters)
                seconds = max(0.0, self._pump_until - loop.time())
                messages = await self._broker.receive(self._waiters[0].maximum, seconds)
                await self._deal(messages)
                for waiter in [w for w in self._waiters if w.deadline <= loop.time()]:
                    _expire(waiter)
                    self._waiters.remove(waiter)
        except Exception as error:
            if not isinstance(error, HiveError):
                log.exception("Waiting for messages failed.")
            for waiter in self._waiters:
                if not waiter.messages.done():
                    waiter.messages.set_exception(error)
            self._waiters.clear()
        finally:
            self._pump = None

    async def _deal(self, messages: list[Message]) -> None:
        """Give `messages` to who has waited longest; what nobody wants is released."""
        while messages and self._waiters:
            waiter = self._waiters.pop(0)
            if waiter.messages.done():
                continue
            share, messages = messages[: waiter.maximum], messages[waiter.maximum :]
            self.leases.take(waiter.scope, (message["id"] for message in share))
            waiter.messages.set_result(share)
        if messages:
            await self._release([message["id"] for message in messages])

    async def _acknowledge_quietly(self, ids: list[int]) -> None:
        held = self.leases.settle(ids)
        if not held:
            return
        try:
            await self._broker.acknowledge(held)
        except HiveError as error:
            # They come again, with their redelivery count: nothing is lost.
            log.info("The broker did not take an acknowledgement: %s", error)
            await self._release(held)

    async def _release(self, ids: list[int]) -> None:
        try:
            await self._broker.release(ids)
        except (Unavailable, Stopping):
            log.info("The broker is away; it queues what was leased when it starts.")
        except HiveError as error:
            log.info("The broker had nothing to take back: %s", error)

    def _own(self, work: Any) -> asyncio.Task[Any]:
        """Start `work` as a task of the inbox, which `close` ends."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _expire(waiter: _Waiter) -> None:
    if not waiter.messages.done():
        waiter.messages.set_result([])
