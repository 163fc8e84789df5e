"""The scenario file: its contents, and a clear sentence for each error in it."""

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from sandbox.model.failures import Failure
from sandbox.model.jsonvalues import Json, JsonObject

BUILT_IN: Final = frozenset(
    {
        "agent",
        "model",
        "prompt",
        "from",
        "kind",
        "id",
        "in_reply_to",
        "body",
        "result",
        "sum",
        "sum_result",
        "half_emoji",
    }
)
"""The names for every template, in addition to the named groups of its rule's patterns."""

_PLACE: Final = re.compile(r"\{([a-z_][a-z0-9_]*)\}")

_NUMBER: Final = re.compile(r"\{(id|in_reply_to|[a-z_]+_id)\}")

DEFAULT_ANSWER: Final = "Thank you. I have no script for this, so I leave it at that."


class ScenarioError(Exception):
    """A scenario file is invalid; the text names the file, the rule and the key."""


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
    """A tool call; `args` may contain `{name}` templates at any depth."""

    tool: str = Field(min_length=1)
    args: JsonObject = {}


class Break(_Strict):
    """The end of a stream that breaks: after so many deltas, and how."""

    after: int = Field(default=0, ge=0)
    how: Literal["close", "stall", "garbage", "error"] = "close"
    """`close` ends the connection, `stall` keeps it and sends nothing more, `garbage` sends bytes
    that are no event, and then closes; `error` sends the API's event of an overload.
    """


class Step(_Strict):
    """An answer of the model: text, thinking, tool calls, or a failure of the API itself.

    Attributes:
        error: the name of a failure of the API, with its status, body and headers.
        limit: for `rate-limit`, the window of a subscription that is used up.
        resets_in: for `rate-limit`, the seconds until the limit ends.
        times: how often the step fails before the next one follows; without it, always.
        lasts: the seconds for which the step fails, from its first failure on.
        delay: the seconds before the answer.
        pace: the seconds before each delta of the stream.
        breaks: the place and the way in which the stream breaks.
        stop_reason: the API's reason for the end of the answer.
        usage: the numbers of tokens that the answer claims.
    """

    text: str | None = None
    thinking: str | None = None
    tool: str | None = Field(default=None, min_length=1)
    args: JsonObject = {}
    calls: tuple[Call, ...] = ()
    status: int | None = Field(default=None, ge=400, le=599)
    error: Failure | None = None
    limit: Literal["five_hour", "seven_day"] | None = None
    resets_in: float | None = Field(default=None, ge=0)
    times: int | None = Field(default=None, ge=1)
    lasts: float | None = Field(default=None, gt=0)
    delay: float = Field(default=0.0, ge=0, le=3600)
    pace: float = Field(default=0.0, ge=0, le=60)
    breaks: Break | None = None
    stop_reason: str | None = None
    usage: dict[str, int] = {}

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.tool and self.calls:
            raise ValueError("give either tool or calls, not both")
        if self.args and not self.tool:
            raise ValueError("args needs a tool")
        if self.status and self.error:
            raise ValueError("give either status or error, not both")
        if self.refuses and (self.all_calls or self.breaks):
            raise ValueError("a step with a status or an error cannot call a tool or break")
        if (self.limit or self.resets_in is not None) and self.error is not Failure.RATE_LIMIT:
            raise ValueError("limit and resets_in need error = 'rate-limit'")
        if (self.times or self.lasts) and not self.fails:
            raise ValueError("times and lasts need a status, an error or breaks")
        if self.times and self.lasts:
            raise ValueError("give either times or lasts, not both")
        if not (self.text or self.thinking or self.all_calls or self.refuses):
            raise ValueError("needs one of text, thinking, tool, calls, status or error")
        return self

    @property
    def refuses(self) -> bool:
        """Whether the API answers with an error instead of a message."""
        return bool(self.status or self.error)

    @property
    def fails(self) -> bool:
        """Whether a client gets no whole message."""
        return self.refuses or self.breaks is not None

    @property
    def all_calls(self) -> tuple[Call, ...]:
        """The tool calls of this step, from `tool` or from `calls`."""
        return (Call(tool=self.tool, args=self.args),) if self.tool else self.calls

    def templates(self) -> Iterable[str]:
        """Yield every name that a template of this step uses."""
        yield from names_in([self.text, self.thinking, [call.args for call in self.all_calls]])


class Rule(_Strict):
    """A rule for a message that woke an agent or, with `result`, for the results of its tools.

    Attributes:
        compaction: the rule answers the request for a summary of the conversation.
        replaces: when the message comes in the middle of a turn, the rest of the script is dropped.
    """

    name: str = Field(min_length=1)
    agent: Pattern | None = None
    model: Pattern | None = None
    sender: Pattern | None = Field(default=None, alias="from")
    kind: Pattern | None = None
    body: Pattern | None = None
    result: Pattern | None = None
    tool: Pattern | None = None
    sum: bool | None = None
    reply: bool | None = None
    urgent: bool | None = None
    replaces: bool = False
    compaction: bool = False
    step: tuple[Step, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _templates_are_known(self) -> Self:
        if self.result is None:
            self.check_templates(self.groups())
        elif self.sender or self.kind or self.body or self.sum is not None or self.compaction:
            raise ValueError("a rule with a result can only have agent, model and tool")
        if self.tool and not self.result:
            raise ValueError("tool needs a result, which it narrows down")
        return self

    def check_templates(self, groups: frozenset[str]) -> None:
        """Check the templates.

        Raises:
            ValueError: a template names neither one of `groups` nor a built-in.
        """
        for number, step in enumerate(self.step, 1):
            for name in step.templates():
                if name not in BUILT_IN | groups:
                    raise ValueError(
                        f"step {number} uses {{{name}}}, which is neither a group of the rule's "
                        f"patterns nor one of {', '.join(sorted(BUILT_IN))}"
                    )

    def groups(self) -> frozenset[str]:
        """Return the named groups of the rule's patterns."""
        patterns = (self.agent, self.sender, self.kind, self.body, self.result)
        return frozenset(name for p in patterns if p for name in re.compile(p).groupindex)


class Scenario(_Strict):
    """The rules in their order (the first match wins), and the answer if no rule matches.

    Attributes:
        models: the models that exist; a request for another one fails. Empty: every name exists.
        context_limit: the tokens of a request above which it is refused as too long.
    """

    default: str = DEFAULT_ANSWER
    models: tuple[str, ...] = ()
    context_limit: int | None = Field(default=None, gt=0)
    rule: tuple[Rule, ...] = ()

    @model_validator(mode="after")
    def _templates_of_results_are_known(self) -> Self:
        """Check the templates of rules for results, which may use the groups of all rules."""
        groups = frozenset(name for rule in self.rule for name in rule.groups())
        for rule in self.rule:
            if rule.result is not None:
                try:
                    rule.check_templates(groups)
                except ValueError as exc:
                    raise ValueError(f"rule {rule.name!r}: {exc}") from None
        return self


def load(*paths: Path) -> Scenario:
    """Read scenario files; the rules and the other keys of an earlier file take precedence.

    Args:
        paths: files, or directories whose files `*.toml` are read in the order of their names.

    Raises:
        ScenarioError: a file cannot be read, is not TOML, or contains an error.
    """
    parts = [_load_one(path) for given in paths for path in _files(given)]
    keys: JsonObject = {}
    for part in parts:
        keys = {key: getattr(part, key) for key in part.model_fields_set} | keys
    return Scenario(**(keys | {"rule": tuple(rule for part in parts for rule in part.rule)}))


def _files(path: Path) -> list[Path]:
    return sorted(path.glob("*.toml")) if path.is_dir() else [path]


def fill(value: Json, values: dict[str, str]) -> Json:
    """Return `value` with every `{name}` in it replaced, at any depth.

    A string that is only `{id}`, `{in_reply_to}` or a group named `..._id` becomes a number, which
    tools expect.
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


def names_in(value: Json) -> Iterable[str]:
    """Yield every name that a template anywhere in `value` uses."""
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
        raise ScenarioError(f"{path}: is not valid TOML: {exc}") from None
    try:
        return Scenario.model_validate(data)
    except ValidationError as exc:
        raise ScenarioError(_sentence(path, data, exc)) from None


def _sentence(path: Path, data: JsonObject, exc: ValidationError) -> str:
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
        reason = "is not a known key"
    return ": ".join((", ".join(words), reason))
