"""The rules of holds: their reasons, their effects and their ends."""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from pydantic import Field

from services.broker.events import Announcer
from services.broker.holds import store
from services.broker.holds.loops import Loop
from services.broker.holds.store import Held
from services.broker.messages.agents import check_agent, registered
from services.broker.messages.queue import DEFAULTS
from services.broker.questions import store as question_store
from services.broker.questions.question import CANCELLED, NewQuestion
from services.broker.questions.store import QuestionChange
from services.broker.storage.database import LAST_ID, Database, now
from services.broker.writes import Writes
from services.options import Options
from wire.errors import Conflict, InvalidArgument, NotFound
from wire.names import ALL_AGENTS, OPERATOR, SYSTEM
from wire.records.broker import BudgetHold, Hold, HoldKind, HoldsChanged, QuestionState

MAX_TEXT: Final = 300
"""The most characters of the operator's reason for a hold."""

GO_ON: Final = "let them go on"
KEEP: Final = "keep them held"
CHOICES: Final = (GO_ON, KEEP)
LIMIT_CHOICES: Final = ("let it go on", "keep it held")
"""The answers to the question about a loop. `store.release_answered` knows that the first one ends
the holds."""
_BUDGET: Final = Options(
    BudgetHold,
    "key of HoldBudget",
    reason=Field(min_length=1, max_length=MAX_TEXT),
    choices=Field(min_length=1),
    key=Field(min_length=1, max_length=128),
)


class Holds:
    """The held agents.

    A held agent gets no messages, except urgent ones of the operator and the hive; the others stay
    queued. Its running turn goes on. An agent has at most one hold.

    Every method that writes may also raise Unavailable: then nothing was changed.
    """

    def __init__(self, database: Database, announcer: Announcer, writes: Writes) -> None:
        """Make the holds; `recover` loads them.

        Args:
            database: the open store.
            announcer: hears of holds, and of questions about loops.
            writes: owns the tasks that write.
        """
        self._database = database
        self._announcer = announcer
        self._writes = writes
        self._held: dict[str, Held] = {}

    async def recover(self) -> None:
        """Load the holds, before anything else is called."""
        self._held = {held.hold.agent: held for held in await self._database.read(store.everything)}

    def is_held(self, name: str) -> bool:
        """Return whether an agent is held."""
        return name in self._held

    def all(self) -> list[Hold]:
        """Return all holds, in the order of the agents' names."""
        return [self._held[name].hold for name in sorted(self._held)]

    def check_may_write(self, sender: str, recipient: str) -> None:
        """Check that neither of two agents is held because of a loop between them.

        A message of a held sender to `*` would reach its peer, too. The peer may write to `*`: else
        an agent could silence another one by a loop of its own.

        Raises:
            Conflict: one is; the sentence tells the sender what to do.
        """
        mine = self._loop(sender)
        theirs = self._loop(recipient)
        if mine is not None and (
            mine.peer == recipient or (recipient == ALL_AGENTS and mine.peer != sender)
        ):
            both = theirs is not None and theirs.question == mine.question
            raise _refused(mine, sender, *([recipient] if both else []), advice="; end your turn")
        if theirs is not None and theirs.peer == sender:
            raise _refused(theirs, recipient, advice="")

    def _loop(self, name: str) -> Held | None:
        held = self._held.get(name)
        return held if held is not None and held.hold.kind is HoldKind.LOOP else None

    async def hold(self, name: str, text: str) -> None:
        """Hold an agent by the operator's order.

        Raises:
            Conflict: the agent is held already.
            InvalidArgument: the text is too long, or has more than one line.
            NotFound: there is no such agent.
        """
        if len(text) > MAX_TEXT or not (text or "-").isprintable():
            raise InvalidArgument(
                f"The reason is not valid: use one line of at most {MAX_TEXT} characters."
            )
        reason = " ".join(text.split()) or "the operator holds it"
        held = Held(Hold(name, HoldKind.OPERATOR, reason, now()))
        await self._writes.carry_out(self._hold(held))

    async def hold_limit(self, name: str, text: str) -> None:
        """Hold an agent because of its provider's limit, and ask the operator whether it goes on.

        Raises:
            Conflict: the agent is held already.
            NotFound: there is no such agent.
        """
        reason = " ".join(text.split())[:MAX_TEXT]
        await self._writes.carry_out(self._hold_limit(name, reason))

    async def hold_budget(self, values: Mapping[str, object]) -> int:
        """Hold agents whose budget is used up, and ask the operator; return the question.

        The same key asks no second question. Agents that are held already, and unknown ones, are
        left out; those that are named and held for a budget get the new reason and question.

        Raises:
            InvalidArgument: a value is not valid.
        """
        return await self._writes.carry_out(self._hold_budget(_BUDGET.parse(values)))

    async def release_budget(self, names: Sequence[str], question: int) -> None:
        """End the holds of `names`, or of all for `*`, that are for budgets.

        Args:
            names: agents; those that have no such hold are left out.
            question: is cancelled if it is open; 0 for none.
        """
        await self._writes.carry_out(self._release_budget(names, question))

    async def unhold(self, name: str) -> None:
        """End the hold of an agent, also of a destroyed one; its queued messages are delivered.

        When no agent of a loop is held any more, the question about the loop is cancelled.

        Raises:
            NotFound: the agent is not held.
        """
        await self._writes.carry_out(self._unhold(name))

    async def hold_loop(self, loop: Loop) -> None:
        """Hold the agents that had a part in a loop, and ask the operator."""
        await self._writes.carry_out(self._hold_loop(loop))

    def released(self, names: Sequence[str]) -> None:
        """Announce agents whose holds the answer to a question has ended."""
        for name in names:
            self._held.pop(name, None)
            self._announcer.hold_ended(HoldsChanged(name, "", "", now()))

    async def _hold(self, held: Held) -> None:
        await self._database.write(partial(_hold, held=held))
        self._announce(held)

    async def _hold_limit(self, name: str, reason: str) -> None:
        change, held = await self._database.write(partial(_hold_limit, name=name, reason=reason))
        self._announce(held)
        self._announcer.listener.question_added(change.question)

    async def _hold_budget(self, wanted: BudgetHold) -> int:
        number, change, changed = await self._database.write(partial(_hold_budget, wanted=wanted))
        for held in changed:
            self._announce(held)
        if change is not None:
            self._announcer.listener.question_added(change.question)
        return number

    async def _release_budget(self, names: Sequence[str], question: int) -> None:
        job = partial(_release_budget, names=names, number=question)
        released, change = await self._database.write(job)
        self.released(released)
        if change is not None:
            self._announcer.listener.question_resolved(change.question)

    async def _unhold(self, name: str) -> None:
        change = await self._database.write(partial(_unhold, name=name))
        self.released([name])
        if change is not None:
            self._announcer.listener.question_resolved(change.question)

    async def _hold_loop(self, loop: Loop) -> None:
        change, added = await self._database.write(partial(_hold_loop, loop=loop))
        for held in added:
            self._announce(held)
        if change is not None:
            self._announcer.listener.question_added(change.question)

    def _announce(self, held: Held) -> None:
        self._held[held.hold.agent] = held
        self._announcer.listener.holds_changed(HoldsChanged(*held.hold))


def _hold(db: sqlite3.Connection, *, held: Held) -> None:
    _check_free(db, held.hold.agent)
    store.add(db, held)


def _check_free(db: sqlite3.Connection, name: str) -> None:
    check_agent(db, name)
    if known := store.get(db, name):
        raise Conflict(
            f"{name} is held already: {known.hold.text}. `hivectl unhold {name}` ends that."
        )


def _hold_limit(db: sqlite3.Connection, *, name: str, reason: str) -> tuple[QuestionChange, Held]:
    question = NewQuestion(
        asker=SYSTEM,
        recipient=OPERATOR,
        text=f"{name} is held: {reason}. Its new messages wait in the inbox. Let it go on when the "
        "limit has ended?",
        choices=list(LIMIT_CHOICES),
        multi=False,
        asked=now(),
        deadline=None,
        dedupe_key=None,
    )
    held = Held(Hold(name, HoldKind.LIMIT, reason, question.asked))
    _check_free(db, name)
    change = question_store.ask(db, question, LAST_ID, DEFAULTS)
    held = replace(held, question=change.question.id)
    store.add(db, held)
    return change, held


def _hold_budget(
    db: sqlite3.Connection, *, wanted: BudgetHold
) -> tuple[int, QuestionChange | None, list[Held]]:
    change = None
    number = question_store.known(db, SYSTEM, wanted.key)
    if number is None:
        asked = NewQuestion(
            asker=SYSTEM,
            recipient=OPERATOR,
            text=wanted.question,
            choices=wanted.choices,
            multi=False,
            asked=now(),
            deadline=None,
            dedupe_key=wanted.key,
        )
        change = question_store.ask(db, asked, LAST_ID, DEFAULTS)
        number = change.question.id
    names = registered(db)
    if ALL_AGENTS not in wanted.agents:
        names = [name for name in names if name in wanted.agents]
    changed = []
    for name in names:
        known = store.get(db, name)
        if known is None:
            hold = Hold(name, HoldKind.BUDGET, wanted.reason, now())
        elif known.hold.kind is HoldKind.BUDGET and name in wanted.agents:
            hold = known.hold._replace(text=wanted.reason)
            store.remove(db, name)
        else:
            continue
        changed.append(Held(hold, question=number))
        store.add(db, changed[-1])
    return number, change, changed


def _release_budget(
    db: sqlite3.Connection, *, names: Sequence[str], number: int
) -> tuple[list[str], QuestionChange | None]:
    released = [
        held.hold.agent
        for held in store.everything(db)
        if held.hold.kind is HoldKind.BUDGET and (ALL_AGENTS in names or held.hold.agent in names)
    ]
    for name in released:
        store.remove(db, name)
    return released, _cancelled(db, number)


def _unhold(db: sqlite3.Connection, *, name: str) -> QuestionChange | None:
    held = store.get(db, name)
    if held is None:
        raise NotFound(f"{name[:64]!r} is not held; `hivectl holds` lists the held agents.")
    store.remove(db, name)
    return None if store.of_question(db, held.question) else _cancelled(db, held.question)


def _cancelled(db: sqlite3.Connection, number: int) -> QuestionChange | None:
    """Cancel a question if it is open; 0 stands for none."""
    if not number:
        return None
    try:
        question = question_store.get(db, number)
    except NotFound:
        return None  # it was answered long ago, and deleted
    if question.state is not QuestionState.OPEN:
        return None
    after = question._replace(
        state=QuestionState.CANCELLED, answered_by=CANCELLED, resolved=now(), answer=[]
    )
    return question_store.resolve(db, question, after, tell=False)


def _hold_loop(db: sqlite3.Connection, *, loop: Loop) -> tuple[QuestionChange | None, list[Held]]:
    """Hold the agents of the loop that are not held yet, and ask the operator about them."""
    one, other = loop.pair
    free = [name for name in loop.held if store.get(db, name) is None]
    if not free:
        return None, []
    asked = NewQuestion(
        asker=SYSTEM,
        recipient=OPERATOR,
        text=f"{loop.text}. {_names(*free)} held: new messages wait in the inbox, and "
        f"{_between(loop)} are refused. Turns that run go on. Is this work, or a loop?",
        choices=list(CHOICES),
        multi=False,
        asked=now(),
        deadline=None,
        dedupe_key=None,
    )
    change = question_store.ask(db, asked, LAST_ID, DEFAULTS)
    added = [
        Held(
            Hold(name, HoldKind.LOOP, loop.text, asked.asked),
            other if name == one else one,
            change.question.id,
        )
        for name in free
    ]
    for held in added:
        store.add(db, held)
    return change, added


def _between(loop: Loop) -> str:
    one, other = loop.pair
    if one == other:
        return f"messages of {one} to itself"
    if ALL_AGENTS in loop.pair:
        return f"messages of {loop.held[0]} to all agents"
    return f"messages between {one} and {other}, and those of a held one to all agents,"


def _refused(held: Held, *names: str, advice: str) -> Conflict:
    return Conflict(
        f"The message was not sent: {held.hold.text}, so {_names(*names)} held. The operator was "
        f"asked (question {held.question}) and decides. Do not try again{advice}."
    )


def _names(*names: str) -> str:
    """Return names with their verb: `alice is`, `alice and bob are`."""
    one, *more = dict.fromkeys(names)
    return f"{one} and {more[0]} are" if more else f"{one} is"
