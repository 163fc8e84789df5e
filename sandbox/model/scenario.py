"""The scenario file: what it may hold, and a clear sentence for one that is wrong."""

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Final, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

BUILT_IN: Final = frozenset(
    {"agent", "from", "kind", "id", "in_reply_to", "body", "result", "sum", "sum_result"}
)
"""What every template may name, besides the named groups of its rule's patterns."""

_PLACE: Final = re.compile(r"\{([a-z_][a-z0-9_]*)\}")

_NUMBER: Final = re.compile(r"\{(id|in_reply_to|[a-z_]+_id)\}")

DEFAULT_ANSWER: Final = "Thank you. I have no script for this, so I leave it at that."


class ScenarioError(Exception):
    """A scenario file that cannot be used; the text names file, rule and key."""


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as exc:
        raise ValueError(f"{text!r} is not a regular expression: {exc}") from None
    return text


Pattern = Annotated[str, AfterValidator(_pattern)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Call(_Strict):
    """One tool call; `args` may hold `{name}` templates at any depth."""

    tool: str = Field(min_length=1)
    args: dict[str, Any] = {}


class Step(_Strict):
    """One answer of the model: text, tool calls, or a failure of the API itself."""

    text: str | None = None
    tool: str | None = Field(default=None, min_length=1)
    args: dict[str, Any] = {}
    calls: tuple[Call, ...] = ()
    status: int | None = Field(default=None, ge=400, le=599)
    times: int | None = Field(default=None, ge=1)
    delay: float = Field(default=0.0, ge=0, le=3600)

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.tool and self.calls:
            raise ValueError("give either tool or calls, not both")
        if self.args and not self.tool:
            raise ValueError("args needs a tool")
        if self.status and self.all_calls:
            raise ValueError("a step with a status calls no tool")
        if self.times and not self.status:
            raise ValueError("times needs a status")
        if not (self.text or self.all_calls or self.status):
            raise ValueError("needs one of text, tool, calls or status")
        return self

    @property
    def all_calls(self) -> tuple[Call, ...]:
        """The tool calls of this step, however they were written."""
        return (Call(tool=self.tool, args=self.args),) if self.tool else self.calls

    def templates(self) -> Iterable[str]:
        """Every name that a template of this step uses."""
        yield from names_in([self.text, [call.args for call in self.all_calls]])


class Rule(_Strict):
    """Matches a message that woke an agent, or with `result` what its tools answered."""

    name: str = Field(min_length=1)
    agent: Pattern | None = None
    sender: Pattern | None = Field(default=None, alias="from")
    kind: Pattern | None = None
    body: Pattern | None = None
    result: Pattern | None = None
    tool: Pattern | None = None
    sum: bool | None = None
    reply: bool | None = None
    step: tuple[Step, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _templates_are_known(self) -> Self:
        if self.result is None:
            self.check_templates(self.groups())
        elif self.sender or self.kind or self.body or self.sum is not None:
            raise ValueError("a rule for a result goes with agent and tool only")
        if self.tool and not self.result:
            raise ValueError("tool narrows down result, so it needs one")
        return self

    def check_templates(self, groups: frozenset[str]) -> None:
        """Raises ValueError for a template that names neither one of `groups` nor a built-in."""
        for number, step in enumerate(self.step, 1):
            for name in step.templates():
                if name not in BUILT_IN | groups:
                    raise ValueError(
                        f"step {number} uses {{{name}}}, which is neither a group of the rule's "
                        f"patterns nor one of {', '.join(sorted(BUILT_IN))}"
                    )

    def groups(self) -> frozenset[str]:
        """The named groups of the rule's patterns."""
        patterns = (self.agent, self.sender, self.kind, self.body, self.result)
        return frozenset(name for p in patterns if p for name in re.compile(p).groupindex)


class Scenario(_Strict):
    """The rules in order (the first that matches wins) and the answer when none does."""

    default: str = DEFAULT_ANSWER
    rule: tuple[Rule, ...] = ()

    @model_validator(mode="after")
    def _templates_of_results_are_known(self) -> Self:
        """A rule for a result also sees the groups of the rule that it takes over from."""
        groups = frozenset(name for rule in self.rule for name in rule.groups())
        for rule in self.rule:
            if rule.result is not None:
                try:
                    rule.check_templates(groups)
                except ValueError as exc:
                    raise ValueError(f"rule {rule.name!r}: {exc}") from None
        return self


def load(*paths: Path) -> Scenario:
    """Reads scenario files; rules of an earlier file come first, as does its default.

    Raises:
        ScenarioError: a file cannot be read, is no TOML, or holds something wrong.
    """
    parts = [_load_one(path) for path in paths]
    defaults = [part.default for part in parts if "default" in part.model_fields_set]
    rules = tuple(rule for part in parts for rule in part.rule)
    return Scenario(default=(defaults or [DEFAULT_ANSWER])[0], rule=rules)


def fill(value: Any, values: dict[str, str]) -> Any:
    """`value` with every `{name}` in it replaced, at any depth.

    A text that is nothing but `{id}`, `{in_reply_to}` or a group that is called `..._id` becomes a
    number, as tools want it.
    """
    match value:
        case str() if _NUMBER.fullmatch(value):
            text = values.get(value[1:-1], "")
            return int(text) if text.isdigit() else text
        case str():
            return _PLACE.sub(lambda m: values.get(m[1], ""), value)
        case list():
            return [fill(item, values) for item in value]
        case dict():
            return {key: fill(item, values) for key, item in value.items()}
    return value


def names_in(value: Any) -> Iterable[str]:
    """Every name that a template somewhere in `value` uses."""
    match value:
        case str():
            yield from _PLACE.findall(value)
        case dict():
            yield from names_in(list(value.values()))
        case list() | tuple():
            for item in value:
                yield from names_in(item)


def _load_one(path: Path) -> Scenario:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8"
        raise ScenarioError(f"{path}: cannot be read: {reason}") from None
    except tomllib.TOMLDecodeError as exc:
        raise ScenarioError(f"{path}: is not TOML: {exc}") from None
    try:
        return Scenario.model_validate(data)
    except ValidationError as exc:
        raise ScenarioError(_sentence(path, data, exc)) from None


def _sentence(path: Path, data: dict[str, Any], exc: ValidationError) -> str:
    error = exc.errors()[0]
    words, where = [str(path)], list(error["loc"])
    if where[:1] == ["rule"] and len(where) > 1:
        rule = data["rule"][where[1]]
        name = rule.get("name") if isinstance(rule, dict) else None
        words.append(f"rule {int(where[1]) + 1}" + (f" ({name!r})" if name else ""))
        where = where[2:]
    if where[:1] == ["step"] and len(where) > 1:
        words.append(f"step {int(where[1]) + 1}")
        where = where[2:]
    if where:
        words.append(f"key {'.'.join(map(str, where))!r}")
    reason = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        reason = "is not known"
    return ": ".join((", ".join(words), reason))
