"""The inbox of the loop: leased messages that wait for a turn, and the calls that lease more.

A call of `recv` is never cancelled before the harness ends: the hive could lease messages in answer
to a call that nobody reads any more. So a call may outlive the wait for it, and its messages wait
here for the next turn.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from harness.backoff import Backoff
from harness.hive_client import ConnectionLostError, HiveClient, Message, ToolError, succeeds
from harness.turns.batch import Batch
from harness.turns.current import Cancellation

log = logging.getLogger(__name__)

MAX_URGENT: Final = 10
"""Urgent messages that are put into a turn at once."""


class Inbox:
    """The leased messages of this harness."""

    def __init__(self, hive: HiveClient) -> None:
        self._hive = hive
        self._retry = Backoff(0.1, 10.0)
        self._delay = 0.0
        self._waiting: deque[Batch] = deque()
        self._all: asyncio.Task[list[Message]] | None = None
        self._urgent: asyncio.Task[list[Message]] | None = None
        # Messages of finished turns whose acknowledgement may have failed: when such a message is
        # delivered again, it is acknowledged without a second turn.
        self._done: deque[int] = deque(maxlen=1000)

    def put_back(self, batch: Batch) -> None:
        """Have a next turn begin with these messages, which stay leased."""
        self._waiting.append(batch)

    def hold(self, batch: Batch) -> None:
        """Put messages back that came one by one; up to MAX_URGENT of them begin a turn."""
        last = self._waiting[-1] if self._waiting else None
        if last and replace(last, messages=()) == replace(batch, messages=()):
            both = last.messages + batch.messages
            if len(both) <= MAX_URGENT:
                self._waiting.pop()
                batch = replace(batch, messages=both)
        self.put_back(batch)

    def withdraw(self, batch: Batch) -> None:
        """Undo `put_back`."""
        with suppress(ValueError):
            self._waiting.remove(batch)

    async def take(self) -> Batch | None:
        """Return messages that wait for a turn; None if there are none that are still leased."""
        self._collect()
        while self._waiting:
            batch = self._waiting.popleft()
            if batch.generation != self._hive.generation:
                log.info("%s: queued again, because the connection was lost", names(batch.ids))
                continue
            left = await self._without_done(batch.messages)
            if left or not batch.messages:
                return replace(batch, messages=left)
        return None

    def receiving(self, maximum: int) -> "asyncio.Task[list[Message]]":
        """Return the call that leases up to `maximum` messages; begin one if there is none."""
        if self._all is None:
            self._all = asyncio.create_task(self._hive.receive(maximum), name="receive")
        return self._all

    @property
    def calls(self) -> "set[asyncio.Task[list[Message]]]":
        """The calls that lease messages."""
        return {task for task in (self._all, self._urgent) if task}

    async def receive_urgent(self) -> Batch | None:
        """Wait for urgent messages; return them, and have a next turn begin with them.

        A call for all messages that was made before the turn is read, too: the hive may lease an
        urgent message in answer to it. So there may be other messages among those returned.

        Returns:
            The messages, for `withdraw`; None if the call failed.
        """
        if self._urgent is None:
            call = self._hive.receive(MAX_URGENT, urgent_only=True)
            self._urgent = asyncio.create_task(call, name="receive urgent")
        # This does not cancel the calls.
        await asyncio.wait(self.calls, return_when=asyncio.FIRST_COMPLETED)
        if self._urgent.done():
            batch, self._urgent = self._answer(self._urgent), None
        elif self._all and self._all.done():
            batch, self._all = self._answer(self._all), None
        else:
            batch = None
        return batch

    async def pause(self) -> None:
        """Wait, if the last call failed, before the next one."""
        if self._retry.failures:
            # The hive refused the call, and does not say when it would take the next one.
            await asyncio.sleep(self._delay)

    def _collect(self) -> None:
        """Take the messages of the calls that are answered."""
        if self._all and self._all.done():
            self._answer(self._all)
            self._all = None
        if self._urgent and self._urgent.done():
            self._answer(self._urgent)
            self._urgent = None

    def _answer(self, task: "asyncio.Task[list[Message]]") -> Batch | None:
        """Have a next turn begin with the messages of an answered call."""
        try:
            messages = task.result()
        except ConnectionLostError:
            return None
        except ToolError as exc:
            log.warning("cannot receive: %s", exc)
            self._delay = self._retry.failed()
            return None
        self._retry.succeeded()
        if not messages:
            return None
        batch = Batch(tuple(messages), self._hive.generation)
        self.put_back(batch)
        return batch

    async def acknowledge(self, batches: Iterable[Batch], *, cancelled: bool = False) -> None:
        """Acknowledge messages whose turn is over."""
        for batch in batches:
            ids = batch.ids
            self._done.extend(ids)
            if ids and batch.generation == self._hive.generation:
                await succeeds(
                    lambda: self._hive.acknowledge(ids, cancelled=cancelled),  # noqa: B023
                    f"cannot acknowledge {names(ids)}",
                )

    async def release(
        self, batches: Iterable[Batch], *, reason: str = "", uncounted: bool = False
    ) -> None:
        """Queue messages again.

        Args:
            batches: the messages.
            reason: why their turn failed.
            uncounted: whether this is not an attempt. Their next delivery is a redelivery all the
                same, so that a late answer does not allow its call a second time.
        """
        for batch in batches:
            ids = batch.ids
            if ids and batch.generation == self._hive.generation:
                await succeeds(
                    lambda: self._hive.release(ids, reason=reason, uncounted=uncounted),  # noqa: B023
                    f"cannot release {names(ids)}",
                )

    async def cancel(self, batches: Iterable[Batch], cancellation: Cancellation) -> None:
        """Acknowledge the messages of a cancelled turn as cancelled, or queue them again."""
        if cancellation.requeue:
            reason = f"cancelled by the {cancellation.by}"
            await self.release(batches, reason=reason, uncounted=True)
        else:
            await self.acknowledge(batches, cancelled=True)

    async def give_back(self) -> None:
        """Queue the messages that wait for a turn again, which does not count as an attempt."""
        self._collect()
        for batch in [batch for batch in self._waiting if batch.ids]:
            self._waiting.remove(batch)
            await self.release([batch], uncounted=True)

    async def close(self) -> None:
        """Release everything that waits for a turn."""
        self._collect()
        for task in self.calls:
            task.cancel()
            await asyncio.wait({task})
        # A message that the model has read is an attempt: the next prompt tells of it.
        await self.release(batch for batch in self._waiting if batch.retried)
        await self.release((batch for batch in self._waiting if not batch.retried), uncounted=True)
        self._waiting.clear()

    async def _without_done(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        done = [message.id for message in messages if message.id in self._done]
        if done and await succeeds(
            lambda: self._hive.acknowledge(done), f"cannot acknowledge {names(done)}"
        ):
            log.info("acknowledged %s, done before the connection was lost", names(done))
        return tuple(message for message in messages if message.id not in self._done)


def names(ids: list[int]) -> str:
    """Return the messages in words, for the log."""
    return f"message {ids[0]}" if len(ids) == 1 else f"messages {', '.join(map(str, ids))}"
