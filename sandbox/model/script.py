"""The model's next answer: the conversation, replayed against the rules.

A request carries its whole conversation, from which the place in the script is counted. Between
requests, only the number of intended failures of each step, and the time of the first, are kept.
"""

import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from sandbox.model.arithmetic import find_sum
from sandbox.model.conversation import Conversation, Round, Wake
from sandbox.model.failures import Failure, Refusal, refusal
from sandbox.model.jsonvalues import JsonObject
from sandbox.model.scenario import Break, Rule, Scenario, Step, fill

END = "Done."
"""The model's text when its script ends without one."""


HALF_EMOJI: Final = "\ud83d"
"""Half a surrogate pair, which a TOML file cannot contain."""

DEFAULT_MODEL: Final = "scripted"
"""The name of the model, if a request names none."""


@dataclass(frozen=True)
class Answer:
    """An answer to send: text and tool calls or, with `refusal`, a failure."""

    text: str = ""
    thinking: str = ""
    calls: tuple[tuple[str, JsonObject], ...] = ()
    refusal: Refusal | None = None
    delay: float = 0.0
    pace: float = 0.0
    breaks: Break | None = None
    stop_reason: str | None = None
    usage: dict[str, int] = field(default_factory=dict)
    rule: str | None = None


@dataclass(frozen=True)
class _Planned:
    rule: Rule
    step: Step
    values: dict[str, str]


class Script:
    """The script of a scenario, which answers conversations."""

    def __init__(self, scenario: Scenario, clock: Callable[[], float] = time.monotonic) -> None:
        self._scenario = scenario
        self._clock = clock
        self._failures: Counter[tuple[str, int, str]] = Counter()
        self._first_failures: dict[tuple[str, int, str], float] = {}

    @property
    def models(self) -> tuple[str, ...]:
        """The names of the models."""
        return self._scenario.models or (DEFAULT_MODEL,)

    def answer(self, conversation: Conversation) -> Answer:
        """Return the next answer; its `rule` is None if no rule matched."""
        if general := self._refused(conversation):
            return Answer(refusal=general)
        plan = self._plan(conversation)
        if not plan:
            text = END if conversation.rounds else self._scenario.default
            return Answer(text=text)
        place = 0
        if not conversation.compaction:
            plan, place = self._replay(plan, conversation)
        remaining = self._without_spent_failures(plan, place)
        if remaining is None:
            return Answer(text=END, rule=plan[-1].rule.name)
        values = remaining.values | {
            "model": conversation.model,
            "prompt": conversation.prompt,
            "half_emoji": HALF_EMOJI,
        }
        if conversation.rounds:
            values["result"] = conversation.rounds[-1].result
        return _filled(remaining, values, conversation.model)

    def _refused(self, conversation: Conversation) -> Refusal | None:
        """Return the refusal of a request that no model takes, whatever its messages are."""
        models, limit = self._scenario.models, self._scenario.context_limit
        if models and conversation.model not in models:
            return refusal(Failure.NO_SUCH_MODEL, conversation.model)
        if limit and conversation.tokens > limit:
            sentence = f"prompt is too long: {conversation.tokens} tokens > {limit} maximum"
            return refusal(Failure.PROMPT_TOO_LONG, conversation.model, sentence=sentence)
        return None

    def _plan(self, conversation: Conversation) -> list[_Planned]:
        """Return the steps for all messages of the wake prompt, in their order."""
        plan: list[_Planned] = []
        for wake in conversation.wakes:
            plan += self._steps(conversation, wake)
        return _join_texts(plan)

    def _steps(self, conversation: Conversation, wake: Wake) -> list[_Planned]:
        """Return the steps of the first rule that matches a message."""
        for rule in self._scenario.rule:
            values = match_wake(rule, conversation, wake)
            if values is not None:
                return [_Planned(rule, step, values) for step in rule.step]
        return []

    def _replay(
        self, plan: list[_Planned], conversation: Conversation
    ) -> tuple[list[_Planned], int]:
        """Return the current plan after all rounds so far, and how many of its steps are done.

        A rule for results replaces the plan after the round that it matches. The current rule is
        not matched again, so that it cannot restart itself endlessly. The steps for a message that
        came in the middle of the turn are done next; a rule that `replaces` drops the rest.
        """
        place = 0
        for round_ in conversation.rounds:
            current = plan[place].values if place < len(plan) else plan[-1].values
            active = plan[0].rule.name
            place = _after_calls(plan, place)
            for rule in self._scenario.rule:
                values = match_result(rule, conversation, round_)
                if values is not None and rule.name != active:
                    plan = [_Planned(rule, step, current | values) for step in rule.step]
                    place = 0
                    break
            for wake in round_.steering:
                steps = self._steps(conversation, wake)
                replaces = bool(steps) and steps[0].rule.replaces
                left = [] if replaces else plan[place:]
                # Before the rest of the script: a text would end the turn too early.
                if steps or left:
                    plan, place = _join_texts(steps + left), 0
        return plan, place

    def _without_spent_failures(self, plan: list[_Planned], place: int) -> _Planned | None:
        """Return the next step, skipping those that have failed as often as they should.

        A redelivered message, in another wake prompt, counts as the same message.
        """
        for number, planned in enumerate(plan[place:], place):
            step, values = planned.step, planned.values
            if step.times is None and step.lasts is None:
                return planned
            message = "\0".join((values["agent"], values.get("id", ""), values.get("body", "")))
            key = (planned.rule.name, number, message)
            now = self._clock()
            first = self._first_failures.setdefault(key, now)
            if step.lasts is not None and now - first >= step.lasts:
                continue
            if step.times is not None and self._failures[key] >= step.times:
                continue
            self._failures[key] += 1
            return planned
        return None


def _filled(planned: _Planned, values: dict[str, str], model: str) -> Answer:
    """Return the answer of a step, with its templates filled in."""
    step = planned.step
    text = fill(step.text or "", values)
    refused = None
    if step.error:
        refused = refusal(
            step.error, model, sentence=text, limit=step.limit, resets_in=step.resets_in
        )
    elif step.status:
        refused = Refusal(step.status, text or "The scenario contains this failure.")
    return Answer(
        text=text,
        thinking=fill(step.thinking or "", values),
        calls=tuple((call.tool, fill(call.args, values)) for call in step.all_calls),
        refusal=refused,
        delay=step.delay,
        pace=step.pace,
        breaks=step.breaks,
        stop_reason=step.stop_reason,
        usage=step.usage,
        rule=planned.rule.name,
    )


def match_wake(rule: Rule, conversation: Conversation, wake: Wake) -> dict[str, str] | None:
    """Return the values for the rule's templates if it matches this message, else None."""
    if rule.result is not None:
        return None
    if rule.compaction != conversation.compaction:
        return None
    if rule.urgent is not None and rule.urgent != wake.urgent:
        return None
    if rule.reply is not None and rule.reply != bool(wake.in_reply_to):
        return None
    found = find_sum(wake.body)
    if rule.sum is not None and rule.sum != bool(found):
        return None
    agent = conversation.agent
    groups = _match(
        (rule.agent, agent, True),
        (rule.model, conversation.model, True),
        (rule.sender, wake.sender, True),
        (rule.kind, wake.kind, True),
        (rule.body, wake.body, False),
    )
    if groups is None:
        return None
    return {
        "agent": agent,
        "from": wake.sender,
        "kind": wake.kind,
        "id": wake.id,
        "in_reply_to": wake.in_reply_to,
        "body": wake.body,
        "sum": found.phrase if found else "",
        "sum_result": found.result if found else "",
    } | groups


def match_result(rule: Rule, conversation: Conversation, round_: Round) -> dict[str, str] | None:
    """Return the values for the rule's templates if it matches the tools' results, else None."""
    if rule.result is None:
        return None
    if rule.tool and not any(re.fullmatch(rule.tool, tool) for tool in round_.tools):
        return None
    agent = conversation.agent
    groups = _match(
        (rule.agent, agent, True),
        (rule.model, conversation.model, True),
        (rule.result, round_.result, False),
    )
    return None if groups is None else {"agent": agent, "result": round_.result} | groups


def _match(*conditions: tuple[str | None, str, bool]) -> dict[str, str] | None:
    """Return the named groups of all patterns, or None if one of them does not match."""
    groups: dict[str, str] = {}
    for pattern, text, whole in conditions:
        if pattern is None:
            continue
        found = re.fullmatch(pattern, text) if whole else re.search(pattern, text)
        if found is None:
            return None
        groups |= {name: value or "" for name, value in found.groupdict().items()}
    return groups


def _after_calls(plan: list[_Planned], place: int) -> int:
    """Return the place after the next step with tool calls, which a round has answered."""
    for number, planned in enumerate(plan[place:], place):
        if planned.step.all_calls:
            return number + 1
    return len(plan)


def _join_texts(plan: list[_Planned]) -> list[_Planned]:
    """Drop texts that are not last: a text without a tool call would end the turn."""
    last = len(plan) - 1
    return [p for i, p in enumerate(plan) if i == last or p.step.all_calls or p.step.fails]
