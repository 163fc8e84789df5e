"""The consequences of budgets that are used up: agents are held, and the operator is asked.

The accounts, which are on disk, decide which agents are held. After any failure the enforcer tries
again when the broker is back, when something changes, or a minute later.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final, Protocol

from services.ledger.budgets import texts
from services.ledger.budgets.account import Account, Answer, Key
from services.ledger.budgets.budgets import Budgets, owners
from services.ledger.storage.database import Change, Database
from wire.errors import HiveError
from wire.names import ALL_AGENTS
from wire.records.broker import (
    BudgetHold,
    Hold,
    HoldKind,
    HoldsChanged,
    Question,
    QuestionState,
)
from wire.records.ledger import BudgetKind, BudgetState

log = logging.getLogger(__name__)

RETRY: Final = 60.0
"""Seconds until the broker is tried again after it could not do something, though it runs."""


class Broker(Protocol):
    """The part of the broker that holds agents and asks the operator."""

    async def holds(self) -> Sequence[Hold]:
        """Return the holds of all agents."""

    async def hold(self, hold: BudgetHold) -> int:
        """Hold agents, and ask the operator once for each key; return the question.

        Agents that are named and held for a budget get the new reason.
        """

    async def release(self, agents: Sequence[str], question: int) -> None:
        """End holds for budgets, and cancel a question if it is open."""

    async def question(self, number: int) -> Question | None:
        """Return a question; None if there is none any more."""


class Enforcer:
    """Owns one task, which carries out the consequences of the accounts."""

    def __init__(
        self,
        database: Database,
        budgets: Budgets,
        broker: Broker,
        credentials: Callable[[], Mapping[str, str]],
        now: Callable[[], int],
    ) -> None:
        """Make one; `run` does its work.

        Args:
            database: the file.
            budgets: the budgets.
            broker: holds agents and asks.
            credentials: returns the credential that each agent used last.
            now: the clock, in microseconds since 1970.
        """
        self._database = database
        self._budgets = budgets
        self._broker = broker
        self._credentials = credentials
        self._now = now
        self._held: dict[str, tuple[str, str]] = {}
        """The kind and the reason of each agent's hold."""
        self._refused: dict[Key, set[str]] = {}
        self._resolved: set[int] = set()
        self._outdated: set[int] = set()
        self._new_broker = True
        self._wake = asyncio.Event()
        self._wake.set()
        budgets.on_state = self._wake.set

    async def run(self) -> None:
        """Enforce the budgets whenever something changes."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self.enforce()
            except HiveError as error:
                log.warning("cannot enforce the budgets until the broker is back: %s", error)
            except Exception:
                # The task must outlive anything: without it no agent is held any more.
                log.exception("Enforcing the budgets failed.")
            else:
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(RETRY):
                    await self._wake.wait()
            self._wake.set()

    def broker_appeared(self) -> None:
        """Look at everything anew: the broker is there, perhaps with another store."""
        self._new_broker = True
        self._wake.set()

    def hold_changed(self, change: HoldsChanged) -> None:
        """Note that an agent is held, or, with an empty kind, that it is not any more."""
        if change.kind:
            self._held[change.agent] = (change.kind, change.text)
        else:
            self._held.pop(change.agent, None)
        if change.kind == HoldKind.BUDGET:
            self._wake.set()

    def question_resolved(self, number: int) -> None:
        """Note that a question is over."""
        self._resolved.add(number)
        self._wake.set()

    def cancel(self, questions: Iterable[int]) -> None:
        """Cancel questions that are out of date."""
        self._outdated.update(questions)
        self._wake.set()

    def refused(self, key: Key, agent: str) -> None:
        """Note that a request of an agent was refused, because a budget is used up."""
        if agent not in self._held:
            self._refused.setdefault(key, set()).add(agent)
            self._wake.set()

    async def enforce(self) -> None:
        """Enforce the budgets now.

        Raises:
            HiveError: the broker, or the disk, cannot be used now.
        """
        if self._new_broker:
            self._new_broker = False
            try:
                held = await self._broker.holds()
                self._held = {hold.agent: (hold.kind, hold.text) for hold in held}
                await self._hear(None)
            except BaseException:
                self._new_broker = True
                raise
        resolved = set(self._resolved)
        await self._hear(resolved)
        self._resolved -= resolved
        for number in sorted(self._outdated):
            await self._broker.release([], number)
            self._outdated.discard(number)
        if free := self._free():
            await self._broker.release(free, 0)
        for account in self._accounts():
            if account.state is not BudgetState.EXHAUSTED and account.asked:
                await self._broker.release([], account.question)
                present = self._budgets.account(account.key, self._now())
                self._apply(self._budgets.keep(present.unasked()))
        for account in self._accounts():
            if account.state is BudgetState.EXHAUSTED:
                await self._hold(account)
        await self._explain()

    def _accounts(self) -> list[Account]:
        return self._budgets.accounts(self._now())

    async def _hear(self, numbers: Collection[int] | None) -> None:
        """Apply the answers to questions; None: to all that are open."""
        for account in self._accounts():
            waits = account.question and account.answer is Answer.NONE
            if not waits or (numbers is not None and account.question not in numbers):
                continue
            question = await self._broker.question(account.question)
            if question is not None and question.state is QuestionState.OPEN:
                continue
            now = self._now()
            answer, choices, at = "", list[str](), now
            if question is not None and question.state is QuestionState.ANSWERED:
                answer, choices = question.answer[0], list(question.choices)
                at = min(question.resolved, now)
            present = self._budgets.account(account.key, now)
            self._apply(self._budgets.answer(present, answer, choices, at, now))

    def _free(self) -> list[str]:
        """Return the agents that are held for a budget, though none of theirs is used up."""
        return [agent for agent in self._held_for_budgets() if self._longest(agent) is None]

    def _held_for_budgets(self) -> list[str]:
        return sorted(agent for agent, (kind, _) in self._held.items() if kind == HoldKind.BUDGET)

    def _longest(self, agent: str) -> Account | None:
        """Return the budget that stops an agent until the latest time."""
        credential = self._credentials().get(agent, "")
        return self._budgets.longest(owners(agent, credential), self._now())

    async def _hold(self, account: Account) -> None:
        """Hold the agents that a budget stops, and ask the operator."""
        first = not account.question and account.answer is Answer.NONE
        refused = self._refused.pop(account.key, set())
        if not (first or refused):
            return
        if account.answer is Answer.CANCELLED:
            account = replace(account.unasked(), answer=Answer.NONE)
        limit = self._budgets.limit(account)
        if not account.asked:
            offer = texts.offer(account, limit)
            account = replace(account, asked=self._now(), offer=offer)
            self._apply(self._budgets.keep(account))
        held = set(self._held_for_budgets())
        # A new question comes with the present figures also for the agents that stay held.
        same = {agent for agent in held if texts.is_reason(self._held[agent][1], account)}
        agents = (refused | self._concerned(account) | same) if first else refused
        try:
            number = await self._broker.hold(self._order(account, sorted(agents - (held - same))))
        except BaseException:
            self._refused.setdefault(account.key, set()).update(refused)
            raise
        present = self._budgets.account(account.key, self._now())
        if present.asked == account.asked and present.question != number:
            self._apply(self._budgets.keep(replace(present, question=number)))

    async def _explain(self) -> None:
        """Let each hold name the budget that stops its agent longest: another one may have ended,
        or may be used up since."""
        wrong: dict[Key, list[str]] = {}
        for agent in self._held_for_budgets():
            account = self._longest(agent)
            if account and account.asked and not texts.is_reason(self._held[agent][1], account):
                wrong.setdefault(account.key, []).append(agent)
        for key, agents in wrong.items():
            account = self._budgets.account(key, self._now())
            await self._broker.hold(self._order(account, agents))

    def _order(self, account: Account, agents: list[str]) -> BudgetHold:
        """Return the order to hold agents for a budget, and to ask about it."""
        limit, owner = self._budgets.limit(account), account.key.owner
        return BudgetHold(
            agents=agents,
            reason=texts.reason(account, limit),
            question=texts.question(account, limit),
            choices=texts.choices(account),
            key=f"budget:{owner.kind}:{owner.name}:{account.key.period}:{account.asked}",
        )

    def _concerned(self, account: Account) -> set[str]:
        owner = account.key.owner
        match owner.kind:
            case BudgetKind.HIVE:
                return {ALL_AGENTS}
            case BudgetKind.AGENT:
                return {owner.name}
            case BudgetKind.CREDENTIAL:
                return {agent for agent, used in self._credentials().items() if used == owner.name}

    def _apply(self, change: Change) -> None:
        with self._database.write() as db:
            change.save(db)
        change.adopt()
