"""The model's next answer: the conversation, replayed against the rules.

A request carries its whole conversation, from which the place in the script is counted. Between
requests, only the number of intended failures of each step is kept.
"""

import re
from collections import Counter
from dataclasses import dataclass

from sandbox.model.arithmetic import find_sum
from sandbox.model.conversation import Conversation, Round, Wake
from sandbox.model.jsonvalues import JsonObject
from sandbox.model.scenario import Rule, Scenario, Step, fill

END = "Done."
"""The model's text when its script ends without one."""


@dataclass(frozen=True)
class Answer:
    """An answer to send: text and tool calls or, with `status`, a failure."""

    text: str = ""
    calls: tuple[tuple[str, JsonObject], ...] = ()
    status: int | None = None
    delay: float = 0.0
    rule: str | None = None


@dataclass(frozen=True)
class _Planned:
    rule: Rule
    step: Step
    values: dict[str, str]


class Script:
    """The script of a scenario, which answers conversations."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._failures: Counter[tuple[str, int, str]] = Counter()

    def answer(self, conversation: Conversation) -> Answer:
        """Return the next answer; its `rule` is None if no rule matched."""
        plan = self._plan(conversation)
        if not plan:
            text = END if conversation.rounds else self._scenario.default
            return Answer(text=text)
        plan, place = self._replay(plan, conversation)
        remaining = self._without_spent_failures(plan, place)
        if remaining is None:
            return Answer(text=END, rule=plan[-1].rule.name)
        values = dict(remaining.values)
        if conversation.rounds:
            values["result"] = conversation.rounds[-1].result
        return Answer(
            text=fill(remaining.step.text or "", values),
            calls=tuple((call.tool, fill(call.args, values)) for call in remaining.step.all_calls),
            status=remaining.step.status,
            delay=remaining.step.delay,
            rule=remaining.rule.name,
        )

    def _plan(self, conversation: Conversation) -> list[_Planned]:
        """Return the steps for all messages of the wake prompt, in their order."""
        plan: list[_Planned] = []
        for wake in conversation.wakes:
            for rule in self._scenario.rule:
                values = match_wake(rule, conversation.agent, wake)
                if values is not None:
                    plan += [_Planned(rule, step, values) for step in rule.step]
                    break
        return _join_texts(plan)

    def _replay(
        self, plan: list[_Planned], conversation: Conversation
    ) -> tuple[list[_Planned], int]:
        """Return the current plan after all rounds so far, and how many of its steps are done.

        A rule for results replaces the plan after the round that it matches. The current rule is
        not matched again, so that it cannot restart itself endlessly.
        """
        place = 0
        for round_ in conversation.rounds:
            current = plan[place].values if place < len(plan) else plan[-1].values
            active = plan[0].rule.name
            place = _after_calls(plan, place)
            for rule in self._scenario.rule:
                values = match_result(rule, conversation.agent, round_)
                if values is not None and rule.name != active:
                    plan = [_Planned(rule, step, current | values) for step in rule.step]
                    place = 0
                    break
        return plan, place

    def _without_spent_failures(self, plan: list[_Planned], place: int) -> _Planned | None:
        """Return the next step, skipping those that have failed as often as they should.

        A redelivered message, in another wake prompt, counts as the same message.
        """
        for number, planned in enumerate(plan[place:], place):
            times, values = planned.step.times, planned.values
            if times is None:
                return planned
            message = "\0".join((values["agent"], values["id"], values["body"]))
            key = (planned.rule.name, number, message)
            if self._failures[key] < times:
                self._failures[key] += 1
                return planned
        return None


def match_wake(rule: Rule, agent: str, wake: Wake) -> dict[str, str] | None:
    """Return the values for the rule's templates if it matches this message, else None."""
    if rule.result is not None:
        return None
    if rule.reply is not None and rule.reply != bool(wake.in_reply_to):
        return None
    found = find_sum(wake.body)
    if rule.sum is not None and rule.sum != bool(found):
        return None
    groups = _match(
        (rule.agent, agent, True),
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


def match_result(rule: Rule, agent: str, round_: Round) -> dict[str, str] | None:
    """Return the values for the rule's templates if it matches the tools' results, else None."""
    if rule.result is None:
        return None
    if rule.tool and not any(re.fullmatch(rule.tool, tool) for tool in round_.tools):
        return None
    groups = _match((rule.agent, agent, True), (rule.result, round_.result, False))
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
    return [p for i, p in enumerate(plan) if i == last or p.step.all_calls or p.step.status]
