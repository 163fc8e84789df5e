"""The rules of questions: permissions to ask, answer and cancel, and how a question ends."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final
from unicodedata import category

from pydantic import AfterValidator, Field

from services import agentfile
from services.broker.deadlines.clock import Moment
from services.broker.deadlines.deadlines import Deadlines
from services.broker.events import Announcer
from services.broker.holds import store as hold_store
from services.broker.holds.guard import LoopGuard
from services.broker.limits.limits import Limits
from services.broker.messages.queue import Bounds
from services.broker.questions import store
from services.broker.questions.question import CANCELLED, EXPIRED, TRANSITIONS, NewQuestion
from services.broker.questions.store import QuestionChange
from services.broker.storage.database import LAST_ID, Database
from services.broker.writes import LARGE, Writes
from services.options import Options
from wire.errors import AccessDenied, Conflict, InvalidArgument, NotFound
from wire.names import ALL_AGENTS, OPERATOR, SYSTEM
from wire.principal import Principal
from wire.records.broker import ALLOW_ALWAYS, DENY, AskOptions, Question, QuestionState
from wire.trace import check_traceparent

MAX_CHOICES: Final = 20
MAX_CHOICE: Final = 200
"""The most characters of a choice, which is one line."""
MAX_TTL: Final = 30 * 24 * 3600
"""Seconds."""

_OPTIONS: Final = Options(
    AskOptions,
    "option of Ask",
    choices=Field(max_length=MAX_CHOICES),
    ttl_s=Field(ge=1, le=MAX_TTL),
    dedupe_key=Field(min_length=1, max_length=128),
    permission=Field(pattern=r"^[A-Za-z0-9:._-]{1,128}$"),
    rule=Field(min_length=1, max_length=400),
    traceparent=AfterValidator(check_traceparent),
)
_BREAKS: Final = frozenset({"Cc", "Zl", "Zp"})
"""The Unicode categories of control characters and of what breaks a line."""


class Questions:
    """Questions between agents and the operator. Each one ends exactly once.

    Every method may also raise Unavailable: the store could not be used, and nothing was changed.
    """

    table = store.TABLE

    def __init__(
        self,
        database: Database,
        deadlines: Deadlines,
        limits: Limits,
        announcer: Announcer,
        writes: Writes,
        *,
        max_open: int,
        bounds: Bounds,
        guard: LoopGuard,
        on_release: Callable[[Sequence[str]], None],
    ) -> None:
        """Make the questions.

        Args:
            database: the open store.
            deadlines: the time limits.
            limits: the limits on senders.
            announcer: hears of messages and of questions.
            writes: owns the tasks that write.
            max_open: the most open questions of one asker.
            bounds: the most messages in an inbox, which holds for messages to asked agents.
            guard: sees what agents write to each other.
            on_release: called with the agents whose holds the operator's answer has ended.
        """
        self._database = database
        self._deadlines = deadlines
        self._limits = limits
        self._announcer = announcer
        self._writes = writes
        self._max_open = max_open
        self._bounds = bounds
        self._guard = guard
        self._on_release = on_release
        deadlines.watch(self)

    async def ask(self, who: Principal, to: str, text: str, options: Mapping[str, object]) -> int:
        """Ask `to`, an agent or the operator; return the question's id once it is on disk.

        An agent that is asked has a message then. If the asker has used the dedupe key before,
        return the id of that time; if a question about the same tool call (`permission`) is open,
        return its id.

        Raises:
            AccessDenied: the asker may not send to `to`.
            Conflict: one of the two is held because of a loop between them.
            InvalidArgument: the question or an option is out of its bounds, or asker and asked are
                the same.
            LimitExceeded: the question is too large, or the asker asks too much in an hour, has
                too many open questions, or too many messages in the inbox of `to`.
            NotFound: there is no such agent.
        """
        chosen = _OPTIONS.parse(options)
        choices = chosen.choices or []
        _check_choices(choices, multi=chosen.multi)
        if to == who.voice:
            others = "an agent" if to == OPERATOR else "another agent, or `operator`"
            raise InvalidArgument(f"{to} cannot ask itself; ask {others}.")
        if to == ALL_AGENTS:
            raise InvalidArgument(
                "'*' is not a valid recipient of a question: name one agent, or `operator`."
            )
        if not text.strip():
            raise InvalidArgument("The question is empty; write what you want to know.")
        _check_permission(chosen, who, to)
        self._limits.check_recipient(who, to)
        self._guard.check(who, to)
        self._limits.spend(who, "\n".join([text, *choices]))
        moment = self._deadlines.now()
        asked = NewQuestion(
            asker=who.voice,
            recipient=to,
            text=text,
            choices=choices,
            multi=chosen.multi,
            asked=moment.wall,
            deadline=None if chosen.ttl_s is None else moment.after(chosen.ttl_s),
            dedupe_key=chosen.dedupe_key,
            permission=chosen.permission or "",
            rule=chosen.rule or "",
            traceparent=chosen.traceparent or "",
        )
        return await self._writes.carry_out_in_turn(who.voice, len(text), self._ask(who, asked))

    async def answer(
        self, who: Principal, question_id: int, answer: Sequence[str], *, freely: bool = False
    ) -> None:
        """Answer a question; its asker gets a message.

        The same answer of the same principal again changes nothing, for a caller that got no reply
        repeats its call.

        Args:
            who: who answers.
            question_id: the question.
            answer: choices, or one text if there are none.
            freely: one text may be none of the choices, unless the hive itself asks.

        Raises:
            AccessDenied: somebody else was asked.
            Conflict: the question is no longer open.
            InvalidArgument: this is not a valid answer; the sentence says which ones are.
            LimitExceeded: the answer is too large, or an agent sends too much.
            NotFound: there is no such question.
        """
        answer = list(answer)
        if not any(text.strip() for text in answer):
            raise InvalidArgument("The answer is empty; write something.")
        self._limits.spend(who, "\n".join(answer))
        moment = self._deadlines.now()
        job = partial(
            _answer, number=question_id, who=who, answer=answer, moment=moment, freely=freely
        )
        # The question may be large even if the answer is not.
        await self._writes.carry_out_in_turn(who.voice, LARGE, self._answer(who, job))

    async def cancel(self, who: Principal, question_id: int) -> None:
        """Cancel a question; its asker gets a message, unless it is the caller.

        If the question is cancelled already, nothing changes.

        Raises:
            AccessDenied: somebody else asked it.
            Conflict: it was answered, or it has expired.
            NotFound: there is no such question.
        """
        moment = self._deadlines.now()
        job = partial(_cancel, number=question_id, who=who, moment=moment)
        await self._writes.carry_out(self._resolve(job))

    async def fall_due(self, moment: Moment) -> None:
        """Let questions expire: see HasDeadlines."""
        await self._writes.carry_out(self._expire(moment))

    async def _ask(self, who: Principal, asked: NewQuestion) -> int:
        known, change = await self._database.write(partial(self._store, asked=asked))
        if change is None:
            return known
        if asked.deadline is not None:
            self._deadlines.added(asked.deadline)
        question = change.question
        self._announcer.announce(change.messages)
        self._announcer.listener.question_added(question)
        await self._guard.wrote(who, question.recipient, question.text)
        return question.id

    def _store(
        self, db: sqlite3.Connection, *, asked: NewQuestion
    ) -> tuple[int, QuestionChange | None]:
        known = store.known(db, asked.asker, asked.dedupe_key)
        if known is None and asked.permission:
            # A harness that was restarted asks again.
            known = store.waiting(db, asked.asker, asked.permission)
        if known is not None:
            return known, None
        return 0, store.ask(db, asked, self._max_open, self._bounds)

    async def _answer(self, who: Principal, job: "partial[QuestionChange | None]") -> None:
        change = await self._resolve(job)
        if change is not None:
            question = change.question
            await self._guard.wrote(who, question.asker, "\n".join(question.answer))

    async def _resolve(self, job: "partial[QuestionChange | None]") -> QuestionChange | None:
        change = await self._database.write(job)
        if change is not None:
            self._announce_end(change)
        return change

    async def _expire(self, moment: Moment) -> None:
        for change in await self._database.write(partial(_expire, moment=moment)):
            self._announce_end(change)

    def _announce_end(self, change: QuestionChange) -> None:
        question = change.question
        self._announcer.announce(change.messages)
        self._announcer.listener.question_resolved(question)
        self._on_release(change.released)


def _check_permission(chosen: AskOptions, who: Principal, to: str) -> None:
    if chosen.permission is None:
        if chosen.rule is not None:
            raise InvalidArgument("`rule` is for questions with `permission`; leave it out.")
        return
    if to != OPERATOR or who.is_operator:
        raise InvalidArgument(
            "A question with `permission` is one of an agent to the operator; leave it out."
        )
    if not chosen.choices:
        raise InvalidArgument("A question with `permission` has choices; give some.")
    if chosen.rule is not None:
        # Without DENY the operator could only allow the call, or leave the question open.
        for needed in (ALLOW_ALWAYS, DENY):
            if needed not in chosen.choices:
                raise InvalidArgument(f"A question with `rule` has the choice {needed!r}; add it.")
        try:
            agentfile.check_tool(chosen.rule)
        except ValueError as error:
            raise InvalidArgument(f"The rule {chosen.rule!r} is not valid: {error}.") from None


def _check_choices(choices: Sequence[str], *, multi: bool) -> None:
    if multi and not choices:
        raise InvalidArgument("`multi` is for questions with choices; give some, or leave it out.")
    for number, choice in enumerate(choices, 1):
        if not choice.strip() or len(choice) > MAX_CHOICE or _BREAKS & set(map(category, choice)):
            raise InvalidArgument(
                f"Choice {number} is not valid: use one line of 1 to {MAX_CHOICE} characters, and "
                "put the details into the question."
            )
    if len({choice.strip() for choice in choices}) < len(choices):
        raise InvalidArgument("Two of the choices are the same; give each of them once.")


def _answer(
    db: sqlite3.Connection,
    *,
    number: int,
    who: Principal,
    answer: list[str],
    moment: Moment,
    freely: bool,
) -> QuestionChange | None:
    question = _get(db, number)
    if who.voice != question.recipient and not who.is_operator:
        raise AccessDenied(
            f"Question {number} was not asked of {who.name}: only {question.recipient} and the "
            "operator may answer it."
        )
    if (question.answered_by, question.answer) == (who.voice, answer):
        return None
    _check_open(question, QuestionState.ANSWERED)
    if question.deadline and store.TABLE.has_passed(db, number, moment):
        raise Conflict(f"Question {number} has expired: nobody waits for its answer.")
    _check_answer(question, answer, freely=freely)
    after = _ended(question, QuestionState.ANSWERED, who.voice, moment, answer)
    change = store.resolve(db, question, after, tell=True)
    if question.asker != SYSTEM:
        return change
    # The broker itself asks only about holds.
    return replace(change, released=hold_store.release_answered(db, after))


def _cancel(
    db: sqlite3.Connection, *, number: int, who: Principal, moment: Moment
) -> QuestionChange | None:
    question = _get(db, number)
    if who.voice != question.asker and not who.is_operator:
        raise AccessDenied(
            f"Question {number} was not asked by {who.name}: only its asker and the operator may "
            "cancel it."
        )
    if question.state is QuestionState.CANCELLED:
        return None
    _check_open(question, QuestionState.CANCELLED)
    after = _ended(question, QuestionState.CANCELLED, CANCELLED, moment)
    return store.resolve(db, question, after, tell=who.voice != question.asker)


def _expire(db: sqlite3.Connection, *, moment: Moment) -> list[QuestionChange]:
    changes = []
    for number in store.TABLE.ids_due(db, moment):
        question = store.get(db, number)
        after = _ended(question, QuestionState.EXPIRED, EXPIRED, moment)
        changes.append(store.resolve(db, question, after, tell=True))
    return changes


def _get(db: sqlite3.Connection, number: int) -> Question:
    if number > LAST_ID:
        raise NotFound(f"There is no question {number}.")
    return store.get(db, number)


def _check_open(question: Question, state: QuestionState) -> None:
    if state not in TRANSITIONS[question.state]:
        by = f" by {question.answered_by}" if question.state is QuestionState.ANSWERED else ""
        raise Conflict(f"Question {question.id} is no longer open: it is {question.state}{by}.")


def _check_answer(question: Question, answer: list[str], *, freely: bool) -> None:
    if freely and question.choices and question.asker != SYSTEM and not question.permission:
        own = [text for text in answer if text not in question.choices]
        most = 1 + len(question.choices) if question.multi else 1
        fits = len(set(answer)) == len(answer) <= most and len(own) <= 1
        many = "one or more" if question.multi else "one"
        wanted = f"{many} of these, or a text of your own: {_quoted(question.choices)}"
    elif question.permission:
        given = [text for text in answer if text in question.choices]
        most = len(question.choices) if question.multi else 1
        fits = len(set(answer)) == len(answer) <= len(given) + 1 and len(given) <= most
        many = "one or more" if question.multi else "one"
        wanted = f"{many} of these, with at most one text of your own: {_quoted(question.choices)}"
    elif not question.choices:
        fits, wanted = len(answer) == 1, "one text"
    elif question.multi:
        fits = len(set(answer)) == len(answer) and set(answer) <= set(question.choices)
        wanted = f"one or more of these, each once: {_quoted(question.choices)}"
    else:
        fits = len(answer) == 1 and answer[0] in question.choices
        wanted = f"exactly one of these: {_quoted(question.choices)}"
    if not fits:
        raise InvalidArgument(f"Answer question {question.id} with {wanted}.")


def _quoted(values: list[str]) -> str:
    return ", ".join(f'"{value}"' for value in values)


def _ended(
    question: Question, state: QuestionState, by: str, moment: Moment, answer: Sequence[str] = ()
) -> Question:
    return question._replace(state=state, answered_by=by, resolved=moment.wall, answer=list(answer))
