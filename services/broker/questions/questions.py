"""The rules of questions: who may ask whom, and who may answer."""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, Final
from unicodedata import category

from pydantic import Field

from services.broker.arguments import LAST_ID, Arguments, parse
from services.broker.deadlines.clock import Moment
from services.broker.deadlines.deadlines import Deadlines
from services.broker.events import Announcer
from services.broker.limits.limits import Limits
from services.broker.questions import store as question_store
from services.broker.questions import texts as question_words
from services.broker.questions.question import CANCELLED, EXPIRED, TRANSITIONS, Question, State
from services.broker.questions.store import NewQuestion, QuestionChange
from services.broker.storage.database import Database
from services.broker.writes import LARGE, Writes
from wire.errors import AccessDenied, Conflict, InvalidArgument, NotFound
from wire.names import OPERATOR, SYSTEM
from wire.principal import Principal

MAX_CHOICES: Final = 20
MAX_CHOICE: Final = 200
"""Characters of a choice, which is one line."""
MAX_TTL: Final = 30 * 24 * 3600
"""Seconds."""

_BREAKS: Final = frozenset({"Cc", "Zl", "Zp"})


class AskOptions(Arguments):
    """The options of Ask."""

    choices: Annotated[list[str], Field(max_length=MAX_CHOICES, default_factory=list)]
    multi: bool = False
    ttl_s: Annotated[int, Field(ge=1, le=MAX_TTL)] | None = None
    dedupe_key: Annotated[str, Field(min_length=1, max_length=128)] | None = None


class Questions:
    """Questions between agents and the operator, with an end for each of them.

    Every method may also raise Unavailable: the store could not be used, nothing was changed.
    """

    table = question_store.TABLE

    def __init__(
        self,
        database: Database,
        deadlines: Deadlines,
        limits: Limits,
        announcer: Announcer,
        writes: Writes,
        *,
        max_open: int,
    ) -> None:
        """`max_open` is the most open questions of one asker."""
        self._database = database
        self._deadlines = deadlines
        self._limits = limits
        self._announcer = announcer
        self._writes = writes
        self._max_open = max_open
        deadlines.watch(self)

    async def ask(self, who: Principal, to: str, text: str, options: Mapping[str, Any]) -> int:
        """Ask `to`, an agent or the operator; returns the question's id once it is on disk.

        An agent that is asked has a message then. A dedupe key that the asker has used before
        answers the id it had then.

        Raises:
            AccessDenied: the asker may not send to `to`.
            InvalidArgument: the question or an option is out of its bounds, or is asked of oneself.
            LimitExceeded: too large, too much asked in an hour, or too many open.
            NotFound: there is no such agent.
        """
        chosen = parse(AskOptions, options, "option of Ask")
        _check(chosen)
        if to == who.voice:
            others = "an agent" if to == OPERATOR else "another agent, or `operator`"
            raise InvalidArgument(f"{to} cannot ask itself; ask {others}.")
        if to == "*":
            raise InvalidArgument("A question is asked of one agent or of `operator`; name it.")
        if not text.strip():
            raise InvalidArgument("The question is empty; ask something.")
        self._limits.check_recipient(who, to)
        self._limits.spend(who, "\n".join([text, *chosen.choices]))
        moment = self._deadlines.now()
        asked = NewQuestion(
            asker=who.voice,
            recipient=to,
            text=text,
            choices=chosen.choices,
            multi=chosen.multi,
            asked=moment.wall,
            deadline=None if chosen.ttl_s is None else moment.after(chosen.ttl_s),
            dedupe_key=chosen.dedupe_key,
        )
        return await self._writes.carry_out_in_turn(who.voice, len(text), self._ask(asked))

    async def answer(self, who: Principal, question_id: int, answer: Sequence[str]) -> None:
        """Answer a question; its asker gets a message.

        The same answer of the same one again: nothing happens, for who heard no reply repeats.

        Raises:
            AccessDenied: it was asked of somebody else.
            Conflict: it is no longer open.
            InvalidArgument: it is no answer to this question; the sentence says what is one.
            LimitExceeded: the answer is too large, or an agent says too much.
            NotFound: there is no such question.
        """
        answer = list(answer)
        if not any(text.strip() for text in answer):
            raise InvalidArgument("The answer is empty; say something.")
        self._limits.spend(who, "\n".join(answer))
        moment = self._deadlines.now()
        job = partial(_answer, number=question_id, who=who, answer=answer, moment=moment)
        # The question may be large, whatever the answer is.
        await self._writes.carry_out_in_turn(who.voice, LARGE, self._resolve(job))

    async def cancel(self, who: Principal, question_id: int) -> None:
        """Take a question back; its asker gets a message, unless it has done so itself.

        Cancelled already: nothing happens.

        Raises:
            AccessDenied: somebody else asked it.
            Conflict: it was answered, or its time was up.
            NotFound: there is no such question.
        """
        moment = self._deadlines.now()
        job = partial(_cancel, number=question_id, who=who, moment=moment)
        await self._writes.carry_out(self._resolve(job))

    async def fall_due(self, moment: Moment) -> None:
        """See HasDeadlines."""
        await self._writes.carry_out(self._expire(moment))

    async def _ask(self, asked: NewQuestion) -> int:
        known, told = await self._database.write(partial(self._store, asked=asked))
        if told is None:
            return known
        if asked.deadline is not None:
            self._deadlines.added(asked.deadline)
        question = told.question
        if told.message:
            self._announcer.queued(told.message, SYSTEM, question.recipient, question_words.ASKED)
        self._announcer.listener.question_added(question)
        return question.id

    def _store(
        self, db: sqlite3.Connection, *, asked: NewQuestion
    ) -> tuple[int, QuestionChange | None]:
        known = question_store.known(db, asked.asker, asked.dedupe_key)
        if known is not None:
            return known, None
        return 0, question_store.ask(db, asked, self._max_open)

    async def _resolve(self, job: "partial[QuestionChange | None]") -> None:
        told = await self._database.write(job)
        if told is not None:
            self._tell(told)

    async def _expire(self, moment: Moment) -> None:
        for told in await self._database.write(partial(_expire, moment=moment)):
            self._tell(told)

    def _tell(self, told: QuestionChange) -> None:
        if told.message:
            to = told.question.asker
            self._announcer.queued(told.message, SYSTEM, to, question_words.ANSWERED)
        self._announcer.listener.question_resolved(told.question)


def _check(options: AskOptions) -> None:
    choices = options.choices
    if options.multi and not choices:
        raise InvalidArgument("`multi` is for questions with choices; give some, or leave it out.")
    for number, choice in enumerate(choices, 1):
        if not choice.strip() or len(choice) > MAX_CHOICE or _BREAKS & set(map(category, choice)):
            raise InvalidArgument(
                f"Choice {number} does not fit: a choice is one line of 1 to {MAX_CHOICE} "
                "characters. Put the details into the question."
            )
    if len({choice.strip() for choice in choices}) < len(choices):
        raise InvalidArgument("Two of the choices are the same; each may be there once.")


def _answer(
    db: sqlite3.Connection, *, number: int, who: Principal, answer: list[str], moment: Moment
) -> QuestionChange | None:
    question = _get(db, number)
    if who.voice != question.recipient and not who.is_operator:
        raise AccessDenied(
            f"Question {number} was not asked of {who.name}: who was asked answers it, or the "
            "operator."
        )
    if (question.answered_by, question.answer) == (who.voice, answer):
        return None
    _check_open(question, State.ANSWERED)
    if question.deadline and question_store.TABLE.has_passed(db, number, moment):
        raise Conflict(f"The time of question {number} is up: nobody waits for its answer.")
    _check_answer(question, answer)
    after = _ended(question, State.ANSWERED, who.voice, moment, answer)
    return question_store.resolve(db, question, after, tell=True)


def _cancel(
    db: sqlite3.Connection, *, number: int, who: Principal, moment: Moment
) -> QuestionChange | None:
    question = _get(db, number)
    if who.voice != question.asker and not who.is_operator:
        raise AccessDenied(
            f"Question {number} was not asked by {who.name}: who asked it takes it back, or the "
            "operator."
        )
    if question.state is State.CANCELLED:
        return None
    _check_open(question, State.CANCELLED)
    after = _ended(question, State.CANCELLED, CANCELLED, moment)
    return question_store.resolve(db, question, after, tell=who.voice != question.asker)


def _expire(db: sqlite3.Connection, *, moment: Moment) -> list[QuestionChange]:
    told = []
    for number in question_store.TABLE.ids_due(db, moment):
        question = question_store.get(db, number)
        after = _ended(question, State.EXPIRED, EXPIRED, moment)
        told.append(question_store.resolve(db, question, after, tell=True))
    return told


def _get(db: sqlite3.Connection, number: int) -> Question:
    if number > LAST_ID:
        raise NotFound(f"There is no question {number}.")
    return question_store.get(db, number)


def _check_open(question: Question, state: State) -> None:
    if state not in TRANSITIONS[question.state]:
        raise Conflict(
            f"Question {question.id} is no longer open: it was answered by {question.answered_by}."
        )


def _check_answer(question: Question, answer: list[str]) -> None:
    if not question.choices:
        fits, wanted = len(answer) == 1, "one text"
    elif question.multi:
        fits = len(set(answer)) == len(answer) and set(answer) <= set(question.choices)
        wanted = f"one or more of these, each once: {_quoted(question.choices)}"
    else:
        fits = len(answer) == 1 and answer[0] in question.choices
        wanted = f"exactly one of these: {_quoted(question.choices)}"
    if not fits:
        raise InvalidArgument(f"Question {question.id} is answered with {wanted}.")


def _quoted(texts: list[str]) -> str:
    return ", ".join(f'"{text}"' for text in texts)


def _ended(
    question: Question, state: State, by: str, moment: Moment, answer: Sequence[str] = ()
) -> Question:
    return replace(question, state=state, answered_by=by, resolved=moment.wall, answer=list(answer))
