"""Messages that are owed to the broker, delivered from disk as soon as the broker takes them.

    deliverer = Deliverer(store.owed, store.delivered, broker.send)
    deliverer.start()
    deliverer.wake()               # another message is owed
    deliverer.broker_appeared()    # the broker's name has an owner (again)
    await deliverer.stop()

The queue is on the caller's disk, and a message leaves it only when the broker has answered. After
a crash in between it is sent again, and the broker drops the repetition by its dedupe key: each is
delivered once.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Final, Generic, Protocol, TypeVar

from wire.errors import AccessDenied, HiveError, InvalidArgument, LimitExceeded, NotFound

log = logging.getLogger(__name__)

LIMIT_RETRY: Final = 60.0
"""Seconds until the broker is tried again after it has refused a message by an hourly limit."""


class Message(Protocol):
    """A message in the queue, as far as this module reads it."""

    @property
    def recipient(self) -> str:
        """The agent, or the operator, that it is for."""

    @property
    def dedupe_key(self) -> str:
        """The key by which the broker knows a message that it has already."""


M = TypeVar("M", bound=Message)


class Deliverer(Generic[M]):
    """Empties a queue on disk into the broker, in order. Owns one task, which waits for a wake.

    A message that the broker cannot take now stays in the queue until the next wake. Nothing tells
    when an hourly limit is over, so that is the one case in which it tries again by the clock.
    """

    def __init__(
        self,
        owed: Callable[[], Iterable[M]],
        delivered: Callable[[M], None],
        send: Callable[[M], Awaitable[None]],
        *,
        introduce: Callable[[], Awaitable[None]] | None = None,
        drop_unknown: bool = False,
    ) -> None:
        """Make one; `start` begins.

        Args:
            owed: returns the messages in the queue, oldest first.
            delivered: removes a message from the queue.
            send: hands one message to the broker, with its dedupe key.
            introduce: called before the first message to each new broker, whose store may be a new
                one; called again when it failed.
            drop_unknown: what to do with a message whose recipient the broker does not know. False:
                it and later ones to that recipient wait for the next wake, others go on. True: it
                is dropped.
        """
        self._owed = owed
        self._delivered = delivered
        self._send = send
        self._introduce = introduce
        self._drop_unknown = drop_unknown
        self._new_broker = True
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the task; it tries at once to deliver the messages of an earlier run."""
        self._task = asyncio.create_task(self._run(), name="deliverer")
        self.broker_appeared()

    async def stop(self) -> None:
        """End the task; what is not delivered stays on disk."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    def wake(self) -> None:
        """Deliver soon: there is a new message or a new recipient."""
        self._wake.set()

    def broker_appeared(self) -> None:
        """Deliver soon, to a broker whose store may be a new one."""
        self._new_broker = True
        self._wake.set()

    async def deliver(self) -> float | None:
        """Deliver all that the broker takes now.

        Returns:
            Seconds after which to try again; None: at the next wake. Never raises an Exception.
        """
        try:
            await self._meet()
            await self._empty()
        except LimitExceeded as error:
            log.warning("cannot deliver messages; trying again in %g s: %s", LIMIT_RETRY, error)
            return LIMIT_RETRY
        except HiveError as error:
            log.warning("cannot deliver messages until the broker is back: %s", error)
        except Exception:
            # The task must outlive anything: without it nobody hears of a crash any more.
            log.exception("Delivering messages failed.")
        return None

    async def _run(self) -> None:
        retry: float | None = None
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(retry):
                    await self._wake.wait()
            self._wake.clear()
            retry = await self.deliver()

    async def _meet(self) -> None:
        """Do what comes before the first message to a new broker."""
        if self._introduce is None or not self._new_broker:
            return
        self._new_broker = False  # first, so that a broker that appears meanwhile is not missed
        try:
            await self._introduce()
        except BaseException:
            self._new_broker = True
            raise

    async def _empty(self) -> None:
        unknown: dict[str, NotFound] = {}
        for message in self._owed():
            if message.recipient in unknown:
                continue  # in order: it waits behind the earlier one
            try:
                await self._send(message)
            except NotFound as error:
                if not self._drop_unknown:
                    unknown[message.recipient] = error
                    continue
            except (InvalidArgument, AccessDenied) as error:
                # It would be refused for ever, and all behind it would wait.
                log.error("The broker refused the message %s: %s", message.dedupe_key, error)
            self._delivered(message)
        for missing in unknown.values():
            raise missing
