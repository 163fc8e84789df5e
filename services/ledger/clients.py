"""The broker over the bus, as the ledger uses it."""

from collections.abc import Callable, Sequence

from services.ledger.budgets.notices import Notice
from wire import names
from wire.bus import Bus
from wire.clients.broker import BrokerClient
from wire.records import decode
from wire.records.broker import (
    BudgetHold,
    Hold,
    HoldsChanged,
    Question,
    QuestionFilter,
    QuestionResolved,
    SendOptions,
)
from wire.signals import Signal, Subscription


class BusBroker:
    """The broker, for budgets."""

    def __init__(self, bus: Bus) -> None:
        self._client = BrokerClient(bus)

    async def send(self, notice: Notice) -> None:
        """Hand one message over; the dedupe key makes a repetition harmless."""
        options = SendOptions(kind=notice.kind, dedupe_key=notice.dedupe_key)
        await self._client.send(notice.recipient, notice.body, options)

    async def holds(self) -> Sequence[Hold]:
        """Return the holds of all agents."""
        return await self._client.list_holds()

    async def hold(self, hold: BudgetHold) -> int:
        """Hold agents, and ask the operator once for each key; return the question.

        Agents that are named and held for a budget get the new reason.
        """
        return await self._client.hold_budget(hold)

    async def release(self, agents: Sequence[str], question: int) -> None:
        """End holds for budgets, and cancel a question if it is open."""
        await self._client.release_budget(list(agents), question)

    async def question(self, number: int) -> Question | None:
        """Return a question; None if there is none any more."""
        filter = QuestionFilter(sender=names.SYSTEM, after=number - 1, before=number + 1)
        found = await self._client.list_questions(filter, 1)
        return found[0] if found else None


async def listen(
    bus: Bus,
    *,
    appeared: Callable[[], None],
    hold_changed: Callable[[HoldsChanged], None],
    question_resolved: Callable[[int], None],
) -> list[Subscription]:
    """Call the functions for the events of the broker.

    Args:
        bus: the connection.
        appeared: called for a new broker.
        hold_changed: called with each change of a hold.
        question_resolved: called with the id of a question of a service.
    """

    def on_hold(signal: Signal) -> None:
        hold_changed(decode(HoldsChanged, signal.args))

    def on_resolved(signal: Signal) -> None:
        question_resolved(decode(QuestionResolved, signal.args).id)

    return [
        await bus.on_signal(
            on_hold,
            sender=names.BROKER,
            path=names.BROKER_PATH,
            interface=names.BROKER,
            member="HoldsChanged",
        ),
        await bus.on_signal(
            on_resolved,
            sender=names.BROKER,
            path=names.BROKER_PATH,
            interface=names.BROKER,
            member="QuestionResolved",
            arg0=names.SYSTEM,
        ),
        await bus.on_owner(names.BROKER, came=lambda _: appeared()),
    ]
