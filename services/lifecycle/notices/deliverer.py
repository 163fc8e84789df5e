"""Hands messages for the manager and the operator over to the broker, as soon as there is one."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from typing import Final

from services.lifecycle.broker import Broker
from services.lifecycle.store import Store
from wire import errors

log = logging.getLogger(__name__)

_LATER = (errors.Unavailable, errors.Timeout, errors.Stopping, errors.NotFound, errors.Internal)
"""Worth another try: the broker is down, or the manager is not known to it yet."""

TOO_MUCH: Final = 60.0
"""After how many seconds the broker is asked again when it was sent too much in this hour."""


class Deliverer:
    """Empties the store's notices into the broker. Owns one task, which sleeps until woken.

    What cannot be handed over stays on disk, and waits for the next wake: a new notice, or the
    broker's name getting an owner. Only what the broker refused because it was sent too much is
    tried again by the clock: nothing else tells when that is over.
    """

    def __init__(self, store: Store, broker: Broker, agents: Callable[[], Iterable[str]]) -> None:
        self._store = store
        self._broker = broker
        self._agents = agents
        self._wake = asyncio.Event()
        self._reconcile = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; what is left from the last run is tried at once."""
        self._task = asyncio.create_task(self._run(), name="deliverer")
        self.broker_appeared()

    async def stop(self) -> None:
        """End; what is not handed over stays on disk."""
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def wake(self) -> None:
        """There is a new notice, or somebody new to send to."""
        self._wake.set()

    def broker_appeared(self) -> None:
        """A broker is there: its store may be a new one, so it is told of all agents first."""
        self._reconcile = True
        self._wake.set()

    async def _run(self) -> None:
        patience: float | None = None
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await self._wake.wait()
            self._wake.clear()
            patience = None
            try:
                await self._register_all()
                await self._hand_over()
            except errors.LimitExceeded as error:
                patience = TOO_MUCH
                log.warning("messages wait %g s: %s", patience, error)
            except _LATER as error:
                log.warning("messages wait for the broker: %s", error)
            except Exception:
                # The deliverer must outlive anything: without it no crash is ever told.
                log.exception("messages were not handed over")

    async def _register_all(self) -> None:
        if self._reconcile:
            for name in self._agents():
                await self._broker.register(name)
            self._reconcile = False

    async def _hand_over(self) -> None:
        unknown: dict[str, errors.NotFound] = {}
        for notice in self._store.notices():
            if notice.recipient in unknown:
                continue  # in order; it waits for the manager to be spawned
            try:
                await self._broker.send(notice)
            except errors.NotFound as error:
                unknown[notice.recipient] = error
                continue
            except (errors.InvalidArgument, errors.AccessDenied) as error:
                # It would be refused for ever, and all behind it would wait.
                log.error("the broker refused %s: %s", notice.dedupe_key, error)
            self._store.drop_notice(notice)
        for missing in unknown.values():
            raise missing
