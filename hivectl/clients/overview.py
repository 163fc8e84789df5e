"""The state of the whole hive at a glance, from all services that answer."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Final, NamedTuple, TypeVar

from hivectl.clients.costs import costs_today
from hivectl.clients.hive import Hive
from hivectl.clients.units import ServiceUnit
from wire import names
from wire.errors import AccessDenied, HiveError
from wire.records.approvals import ApprovalFilter, ApprovalState
from wire.records.broker import Hold, MessageCount, MessageState, QuestionFilter, QuestionState
from wire.records.ledger import Budget
from wire.records.lifecycle import AgentProperties

T = TypeVar("T")

SECONDS: Final = 5.0
"""The seconds for which one service is asked."""
MOST: Final = 1000
"""The most questions that are counted."""


class Overview(NamedTuple):
    """The state of the hive; None where a service does not answer."""

    units: list[ServiceUnit] | None
    agents: list[AgentProperties] | None
    requests: int | None
    """The requests that wait for approval."""
    questions: int | None
    """The open questions to the operator."""
    counts: list[MessageCount] | None
    """The messages that wait, by inbox and state."""
    holds: list[Hold] | None
    cost: int | None
    """The cost of today, in millionths of a dollar."""
    budgets: list[Budget] | None
    silent: list[str]
    """The sentences of the services that do not answer."""

    def waiting(self, inbox: str, *states: MessageState) -> int:
        """Return the number of messages in an inbox that have one of the states."""
        found = self.counts or ()
        return sum(one.number for one in found if one.recipient == inbox and one.state in states)

    @property
    def dead(self) -> int:
        """The dead letters of all inboxes."""
        return sum(one.number for one in self.counts or () if one.state is MessageState.DEAD)


async def look(hive: Hive) -> Overview:
    """Ask all services at once.

    Raises:
        AccessDenied: the caller is not an operator.
    """
    errors: list[HiveError] = []

    async def known(answer: Awaitable[T]) -> T | None:
        try:
            async with asyncio.timeout(SECONDS):
                return await answer
        except HiveError as error:
            errors.append(error)
        except TimeoutError:
            pass  # the unit of the service tells
        return None

    pending = ApprovalFilter(state=ApprovalState.PENDING)
    asked = QuestionFilter(recipient=names.OPERATOR, state=QuestionState.OPEN)
    async with asyncio.TaskGroup() as group:
        units = group.create_task(known(hive.units.services()))
        agents = group.create_task(known(hive.agents.all()))
        requests = group.create_task(known(hive.approvals.list_approvals(pending)))
        questions = group.create_task(known(hive.broker.list_questions(asked, MOST)))
        counts = group.create_task(known(hive.broker.count_messages()))
        holds = group.create_task(known(hive.broker.list_holds()))
        costs = group.create_task(costs_today(hive.ledger))
        budgets = group.create_task(known(hive.ledger.list_budgets()))
    for error in errors:
        if isinstance(error, AccessDenied):
            raise error
    return Overview(
        units=units.result(),
        agents=agents.result(),
        requests=_number(requests.result()),
        questions=_number(questions.result()),
        counts=counts.result(),
        holds=holds.result(),
        cost=None if (found := costs.result()) is None else sum(found.values()),
        budgets=budgets.result(),
        silent=sorted({str(error) for error in errors}),
    )


def _number(found: Sequence[object] | None) -> int | None:
    return None if found is None else len(found)
