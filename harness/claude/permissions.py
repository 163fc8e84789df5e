"""Tool calls that wait for the operator, and the operator's decisions.

A question is durable: it stays open while the harness, the container or the broker are restarted.
The call itself is lost then. The answer comes as a message, and allows an identical call once.
The decisions for a session are kept in memory alone: the agent could write any file.
"""

import asyncio
import json
import logging
import re
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from harness.claude import forms
from harness.claude.calls import Call, encodable, key_of, names_tool
from harness.claude.forms import DECLINE, LEAVE_OUT, Field, Form, FormError
from harness.config import Config
from harness.hive_client import ConnectionLostError, HiveClient, Message, ToolError, succeeds
from harness.jsonvalues import Json, JsonObject

if TYPE_CHECKING:
    from claude_agent_sdk import PermissionResult, ToolPermissionContext

log = logging.getLogger(__name__)

KIND: Final = "permission-answered"
SENDER: Final = "system"

ALLOW_ONCE: Final = "Allow once"
ALLOW_SESSION: Final = "Allow for this session"
ALLOW_ALWAYS: Final = "Always allow"
DENY: Final = "Deny"

QUESTIONS: Final = "AskUserQuestion"
"""The tool of Claude Code that asks its user."""

ASKABLE: Final = ("WebFetch", "WebSearch", "NotebookEdit", QUESTIONS)
"""The further tools that the model sees with `permissions = "ask"`."""

MAX_TRIES: Final = 3
"""Answers to one field of a form, until the form is declined."""

MAX_LATE: Final = 1000
"""Answers that came too late and are known."""

_HEAD: Final = re.compile(
    r"Your request (?P<number>\d+) for a permission was (?P<end>[^\n]*)\n"
    r"Call: (?P<call>[^\n]*)\nRule: (?P<rule>[^\n]*)\nAnswer: (?P<answer>[^\n]*)\n"
)
"""The broker's own lines; the text of the question comes later, and may look the same."""

Note = Callable[..., object]
"""Records an event: its type, and its data as keywords."""


@dataclass(frozen=True)
class Answer:
    """The end of a question.

    Attributes:
        question: The id of the question.
        call: The key of the call.
        rule: The rule that the operator was shown; may be empty.
        given: The choices and the text of the operator; empty when nobody answered.
        end: How the question ended, in the broker's words.
    """

    question: int
    call: str
    rule: str
    given: tuple[str, ...]
    end: str


@dataclass(frozen=True)
class _Question:
    call: str
    text: str
    choices: list[str]
    multi: bool = False
    rule: str | None = None
    seconds: int | None = None


class Permissions:
    """The tool calls that wait, and the decisions of the operator for this session.

    Args:
        config: the configuration of the agent.
        hive: the client of the hive.
        note: records an event.
        form_seconds: seconds that a form of an MCP server may wait; then its tool call has failed.
    """

    def __init__(self, config: Config, hive: HiveClient, note: Note, form_seconds: float) -> None:
        self._config = config
        self._hive = hive
        self._note = note
        self._form_seconds = form_seconds
        self._waiting: dict[str, asyncio.Future[Answer]] = {}
        self._late: dict[str, Answer] = {}
        self._told: deque[int] = deque(maxlen=MAX_LATE)
        self._rules: set[str] = set()
        self._calls: set[str] = set()
        self._reasons: list[str] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._ending = False
        self.on_waiting: Callable[[str | None], None] = lambda reason: None
        """Is called with a reason when something waits, and with None when nothing waits."""

    # --- messages ----------------------------------------------------------------------------

    async def take(self, message: Message) -> bool:
        """Take an answer for which a call waits; return False if `message` is not one.

        The message is acknowledged before the call goes on: a permission must not be used twice.
        """
        answer = answer_of(message)
        waiter = self._waiting.get(answer.call) if answer else None
        if answer is None or waiter is None:
            return False
        if (
            await succeeds(
                lambda: self._hive.acknowledge([message.id]),
                f"cannot acknowledge message {message.id}",
            )
            and not waiter.done()
        ):
            waiter.set_result(answer)
        return True  # otherwise it is delivered again

    def late(self, message: Message) -> Message:
        """Return the message for the prompt; an answer for which no call waits is remembered.

        An identical call is allowed, or denied, once. A message that was delivered before has no
        such effect, because the call may have run.
        """
        answer = answer_of(message)
        if answer is None:
            return message
        if answer.question not in self._told:  # a turn that is repeated must not allow it twice
            self._told.append(answer.question)
            if _choice(answer) in (ALLOW_SESSION, ALLOW_ALWAYS):
                self._remember(answer.call, answer.rule)
            if not message.redeliveries and answer.given:
                self._late[answer.call] = answer
        again = ""
        if answer in self._late.values():
            again = (
                " If you still need it, make exactly the same call again: the answer holds for it."
            )
        lost = f"The tool call that waited for it is gone: it ended with a restart.{again}"
        return replace(message, body=f"{message.body}\n\n[{lost}]")

    def forget(self) -> None:
        """Forget the decisions for this session."""
        self._rules.clear()
        self._calls.clear()
        self._late.clear()

    def detach(self) -> None:
        """Leave the questions open from now on: the harness ends, and their answers come later."""
        self._ending = True

    # --- tool calls --------------------------------------------------------------------------

    async def decide(
        self, tool: str, given: JsonObject, context: "ToolPermissionContext"
    ) -> "PermissionResult":
        """Decide about a call that is not allowed by a rule: the callback of the SDK."""
        from claude_agent_sdk import PermissionResultAllow, PermissionResultDeny

        try:
            if tool == QUESTIONS:
                form = forms.of_questions(tool, given)
                answers = await self._fill(form, None)
                return PermissionResultAllow(updated_input={**given, "answers": answers})
            call = Call(tool, given, context.suggestions, context.decision_reason or "")
            await self._permit(call)
        except (RefusedError, FormError) as exc:
            reason = encodable(str(exc))
            self._note("denied", tool=tool, reason=reason)
            return PermissionResultDeny(message=f"{tool} was not run: {reason}.")
        return PermissionResultAllow()

    async def _permit(self, call: Call) -> None:
        """Return when the call may run.

        Raises:
            RefusedError: it may not.
        """
        rule = call.rule
        if rule in self._rules or rule in self._config.allowed_tools or call.key in self._calls:
            return
        if not self._asks(call.tool):
            raise RefusedError("it is not allowed; the manager can request it in agent.toml")
        if call.hidden:
            raise RefusedError(call.hidden)
        choices = [ALLOW_ONCE, ALLOW_SESSION, *([ALLOW_ALWAYS] if rule else []), DENY]
        question = _Question(call.key, call.text, choices, rule=rule)
        answer = await self._ask(question, call.tool, call.summary)
        choice, words = _choice(answer), _own_words(answer)
        if choice in (ALLOW_SESSION, ALLOW_ALWAYS):
            self._remember(call.key, rule or "")
        if choice in (ALLOW_ONCE, ALLOW_SESSION, ALLOW_ALWAYS):
            return
        if not answer.given:
            raise RefusedError(f"the request for a permission was {answer.end.rstrip('.')}")
        raise RefusedError("the operator has denied it" + (f", and says: {words}" if words else ""))

    def _asks(self, tool: str) -> bool:
        rules = self._config.ask_tools
        return self._config.permissions == "ask" or any(names_tool(rule, tool) for rule in rules)

    def _remember(self, call: str, rule: str) -> None:
        if rule:
            self._rules.add(rule)
        else:
            self._calls.add(call)

    # --- forms -------------------------------------------------------------------------------

    async def elicit(self, request: Json, _: str | None, __: Any) -> JsonObject:
        """Answer a form of an MCP server: the hook Elicitation of the SDK."""
        try:
            form = forms.of_elicitation(request)
            content = await self._fill(form, round(self._form_seconds))
        except (RefusedError, FormError) as exc:
            reason = encodable(str(exc))
            self._note("denied", tool=str(request.get("mcp_server_name", "")), reason=reason)
            return _hook_output("decline")
        return _hook_output("accept", content)

    async def _fill(self, form: Form, seconds: int | None) -> dict[str, Json]:
        """Ask for all fields at once; return their values.

        Raises:
            RefusedError: the operator declines, or nobody answers.
        """
        tasks = {
            field.name: asyncio.create_task(self._field(form, at, field, seconds), name="field")
            for at, field in enumerate(form.fields)
        }
        try:
            await asyncio.wait(tasks.values(), return_when=asyncio.FIRST_EXCEPTION)
            for task in tasks.values():
                if task.done():
                    task.result()
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)
        values = {name: task.result() for name, task in tasks.items()}
        return {name: value for name, value in values.items() if value is not LEAVE_OUT}

    async def _field(self, form: Form, at: int, field: Field, seconds: int | None) -> Json:
        wrong = ""
        for number in range(MAX_TRIES):
            key = key_of(form.key, at, number)
            text = f"{field.text}\n\n{wrong}".rstrip()
            question = _Question(key, text, field.options, field.multi, seconds=seconds)
            answer = await self._ask(question, form.title, " ".join(field.text.split())[:200])
            if not answer.given:
                raise RefusedError(f"the question was {answer.end.rstrip('.')}")
            if DECLINE in answer.given:
                words = " ".join(text for text in answer.given if text != DECLINE)
                raise RefusedError(
                    "the operator declines" + (f", and says: {words}" if words else "")
                )
            if field.optional and LEAVE_OUT in answer.given:
                return LEAVE_OUT
            try:
                return field.value(list(answer.given))
            except ValueError as exc:
                wrong = f"Your answer was not accepted: {exc}."
        raise RefusedError(f"the operator's answer was not accepted {MAX_TRIES} times")

    # --- questions ---------------------------------------------------------------------------

    async def _ask(self, question: _Question, tool: str, summary: str) -> Answer:
        """Ask the operator, and wait for the answer.

        Raises:
            RefusedError: the hive does not take the question.
        """
        if late := self._late.pop(question.call, None):
            return late
        call, number = question.call, 1
        while call in self._waiting:  # the same call, twice at the same time
            number += 1
            call = f"{question.call}.{number}"
        waiter: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[call] = waiter
        words = f"{tool}: {summary}" if summary else tool
        reason = f"waits for the operator: {words}"
        asking = asyncio.create_task(self._put(replace(question, call=call)), name="ask")
        try:
            asked = await asyncio.shield(asking)
            self._reasons.append(reason)
            if len(self._reasons) == 1:
                self.on_waiting(reason)
            event: dict[str, Json] = {"tool": tool, "summary": summary, "choices": question.choices}
            self._note("permission", id=asked, **event)
            log.info("question %d: %s", asked, words)
            answer = await waiter
            self._note("permission", id=asked, **event, answer=list(answer.given) or answer.end)
            return answer
        except asyncio.CancelledError:
            if self._ending:
                asking.cancel()
            elif waiter.cancelled() or not waiter.done():
                self._withdraw(asking)
            raise
        finally:
            del self._waiting[call]
            if reason in self._reasons:
                self._reasons.remove(reason)
                if not self._reasons:
                    self.on_waiting(None)

    async def _put(self, question: _Question) -> int:
        """Ask; after a lost connection again, which asks nothing twice."""
        while True:
            generation = await self._hive.connected()
            try:
                return await self._hive.ask_permission(
                    question.call,
                    question.text,
                    question.choices,
                    multi=question.multi,
                    rule=question.rule,
                    seconds=question.seconds,
                )
            except ConnectionLostError:
                await self._hive.connected(generation)
            except ToolError as exc:
                raise RefusedError(f"the operator cannot be asked: {exc}".rstrip(".")) from None

    def _withdraw(self, asking: "asyncio.Task[int]") -> None:
        """Cancel a question whose call waits no more, once the hive has answered with its id."""

        async def cancel() -> None:
            with suppress(RefusedError):
                number = await asking
                await succeeds(
                    lambda: self._hive.cancel_permission(number), f"cannot cancel question {number}"
                )

        task = asyncio.create_task(cancel(), name="cancel question")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class RefusedError(Exception):
    """A call may not run; the text says why, without a full stop."""


def answer_of(message: Message) -> Answer | None:
    """Return the answer in a message of the broker; None if it is another message."""
    if message.kind != KIND or message.sender != SENDER:
        return None
    found = _HEAD.match(message.body)
    if found is None:
        return None
    try:
        given, rule = json.loads(found["answer"]), json.loads(found["rule"])
    except ValueError:
        return None
    return Answer(int(found["number"]), found["call"], str(rule), tuple(given), found["end"])


def _choice(answer: Answer) -> str:
    """Return the choice about a call. An answer with words of the operator's own denies the call:
    a condition in it could not be enforced.
    """
    return answer.given[0] if len(answer.given) == 1 else DENY


def _own_words(answer: Answer) -> str:
    choices = (ALLOW_ONCE, ALLOW_SESSION, ALLOW_ALWAYS, DENY)
    return "\n".join(text for text in answer.given if text not in choices).rstrip(".")


def _hook_output(action: str, content: Mapping[str, Json] | None = None) -> JsonObject:
    """Return the output of the hook Elicitation.

    Claude Code (2.1.329) reads the output of a hook of this kind in the SDK from `systemMessage`.
    """
    output: JsonObject = {"hookEventName": "Elicitation", "action": action}
    if content is not None:
        output["content"] = dict(content)
    whole = {"hookSpecificOutput": output}
    return {**whole, "systemMessage": json.dumps(whole)}
