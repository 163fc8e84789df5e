"""The broker and the ledger over the bus, as lifecycle uses them."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from services import config
from services.lifecycle.notices.notice import Notice
from wire import names
from wire.bus import Bus
from wire.clients.broker import BrokerClient
from wire.clients.ledger import LedgerClient
from wire.errors import NotFound
from wire.records import decode, decode_all
from wire.records.broker import (
    Hold,
    HoldsChanged,
    InboxOptions,
    MessageChange,
    MessageState,
    SendOptions,
)
from wire.records.ledger import AgentLimited, BudgetKind, BudgetLimits
from wire.signals import Signal, Subscription

log = logging.getLogger(__name__)


MICRO: Final = 1_000_000
"""The parts of a dollar in which the ledger counts."""


class BusLedger:
    """The ledger, for lifecycle."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._client = LedgerClient(bus)

    async def set_budget(self, name: str, limits: config.BudgetLimits) -> None:
        """Set the limits of the deployed agent.toml of `name`, in place of earlier ones."""
        values = {
            key: round(value * MICRO) or 1 if isinstance(value, float) else value
            for key, value in limits
            if value is not None
        }
        await self._client.set_budget(BudgetKind.AGENT, name, BudgetLimits(**values, reset=True))

    async def set_egress(self, name: str, rules: Sequence[str]) -> None:
        """Tell the rules that the gateway of `name` follows."""
        await self._client.set_egress(name, list(rules))

    async def forget(self, name: str) -> None:
        """Forget the budgets of `name` and the decisions about its hosts."""
        await self._client.forget_agent(name)

    async def limits(self) -> Mapping[str, int]:
        """Return the agents whose provider takes no requests, each with the end of that."""
        found = await self._client.list_limits()
        return {agent: limit.until for limit in found for agent in limit.agents if limit.until}

    async def lift_limits(self) -> None:
        """Forget all limits of providers."""
        await self._client.lift_limits()

    async def follow_limits(self, changed: Callable[[str, int], None]) -> None:
        """Call `changed` from now on with an agent and the end of its limit."""
        await self._bus.on_signal(
            lambda signal: changed(*decode(AgentLimited, signal.args)),
            sender=names.LEDGER,
            path=names.LEDGER_PATH,
            interface=names.LEDGER,
            member="AgentLimited",
        )


class BusBroker:
    """The broker, for lifecycle."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._client = BrokerClient(bus)
        self._listening: dict[str, Callable[[], None]] = {}
        self._subscription: Subscription | None = None
        self._subscribing = asyncio.Lock()

    async def register(self, name: str) -> None:
        """Create the inbox of `name`."""
        await self._client.register_agent(name)

    async def unregister(self, name: str) -> None:
        """Remove the inbox of `name`. A missing inbox is not an error."""
        try:
            await self._client.unregister_agent(name)
        except NotFound:
            return

    async def send(self, notice: Notice) -> None:
        """Hand one message over; the dedupe key makes a repetition harmless."""
        options = SendOptions(kind=notice.kind, dedupe_key=notice.dedupe_key)
        await self._client.send(notice.recipient, notice.body, options)

    async def waiting(self) -> set[str]:
        """Return the agents that have queued or leased messages."""
        return set(await self._client.list_waiting())

    async def listen(self, name: str, told: Callable[[], None]) -> None:
        """Call `told` when a message to `name` is queued."""
        self._listening[name] = told
        await self._follow()

    async def ignore(self, name: str) -> None:
        """Undo `listen`."""
        self._listening.pop(name, None)
        await self._follow()

    async def limit_attempts(self, name: str, attempts: int | None) -> None:
        """Set how often a message to `name` is handed out; None for the configuration's value."""
        most = None if attempts is None else attempts - 1
        await self._client.set_inbox_options(name, InboxOptions(max_redeliveries=most))

    async def holds(self) -> list[Hold]:
        """Return the held agents."""
        return await self._client.list_holds()

    async def follow_holds(self, changed: Callable[[HoldsChanged], None]) -> None:
        """Call `changed` from now on for each hold that begins or ends."""
        await self._bus.on_signal(
            lambda signal: changed(decode(HoldsChanged, signal.args)),
            sender=names.BROKER,
            path=names.BROKER_PATH,
            interface=names.BROKER,
            member="HoldsChanged",
        )

    async def hold(self, name: str, text: str) -> None:
        """Hold an agent, and ask the operator whether it goes on."""
        await self._client.hold(name, text)

    async def _follow(self) -> None:
        """Subscribe to the changes of messages while somebody listens, and only then."""
        async with self._subscribing:
            if self._listening and self._subscription is None:
                self._subscription = await self._bus.on_signal(
                    self._changed,
                    sender=names.BROKER,
                    path=names.BROKER_PATH,
                    interface=names.BROKER,
                    member="MessagesChanged",
                )
            elif not self._listening and self._subscription is not None:
                subscription, self._subscription = self._subscription, None
                await subscription.close()

    def _changed(self, signal: Signal) -> None:
        [rows] = signal.args
        queued = {
            change.recipient
            for change in decode_all(MessageChange, rows)
            if change.state is MessageState.QUEUED
        }
        for name in queued & self._listening.keys():
            try:
                self._listening[name]()
            except Exception:
                # One agent that cannot be woken must not keep the others asleep.
                log.exception("a message to %s was not handled", name)
