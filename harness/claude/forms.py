"""Forms for the operator: Claude Code's own questions, and those of MCP servers (elicitation).

Each field of a form becomes a question. A field that cannot be asked makes the form invalid: a
form with guessed answers would be worse than none.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from harness.claude.calls import encodable, key_of
from harness.jsonvalues import Json, JsonObject

DECLINE: Final = "I do not answer"
"""The choice that ends a form without answers."""

LEAVE_OUT: Final = "Leave this out"
"""The choice for a field that may stay empty."""

YES: Final = "Yes"
NO: Final = "No"

MAX_FIELDS: Final = 10
MAX_CHOICES: Final = 18
"""The choices of a field; the hive takes 20, and DECLINE and LEAVE_OUT are two."""

MAX_CHOICE: Final = 200
MAX_TEXT: Final = 4000

_TYPES: Final = {"string": "a text", "number": "a number", "integer": "a whole number"}


class FormError(Exception):
    """A form cannot be asked; the text is a sentence that says why."""


@dataclass(frozen=True)
class Field:
    """A field of a form.

    Attributes:
        name: The key of its value in the answer.
        text: The question.
        choices: The possible answers, which may be none.
        multi: Whether several choices may be given.
        value: Returns the value for a valid answer; raises ValueError with a sentence.
        optional: Whether it may be left out.
    """

    name: str
    text: str
    choices: tuple[str, ...]
    multi: bool
    value: Callable[[list[str]], Json]
    optional: bool = False

    @property
    def options(self) -> list[str]:
        """The choices of the question."""
        return [*self.choices, *([LEAVE_OUT] if self.optional else []), DECLINE]


@dataclass(frozen=True)
class Form:
    """A form; `key` is the same for the same form."""

    key: str
    title: str
    fields: tuple[Field, ...]


# --- Claude Code's AskUserQuestion ---------------------------------------------------------------


def of_questions(tool: str, given: JsonObject) -> Form:
    """Return the form of a call of AskUserQuestion.

    Raises:
        FormError: the call has no questions, or too many.
    """
    questions = given.get("questions")
    if not isinstance(questions, list) or not 1 <= len(questions) <= MAX_FIELDS:
        raise FormError(f"it must have 1 to {MAX_FIELDS} questions")
    return Form(key_of(tool, given), tool, tuple(_question(question) for question in questions))


def _question(given: Json) -> Field:
    question = given.get("question") if isinstance(given, dict) else None
    if not isinstance(question, str) or not question.strip():
        raise FormError("one of its questions has no text")
    options = [option for option in given.get("options") or [] if isinstance(option, dict)]
    choices = _choices(question, [str(option.get("label", "")) for option in options])
    lines = [encodable(question)[:MAX_TEXT]]
    for choice, option in zip(choices, options, strict=True):
        if about := " ".join(str(option.get("description") or "").split()):
            lines += ["", f"{choice}:", f"    {encodable(about)[:MAX_TEXT]}"]
    multi = bool(given.get("multiSelect")) and bool(choices)
    return Field(question, "\n".join(lines), choices, multi, ", ".join)


# --- MCP elicitation -----------------------------------------------------------------------------


def of_elicitation(request: JsonObject) -> Form:
    """Return the form that an MCP server asks to be filled in.

    Raises:
        FormError: it is an address to open, or has a field that cannot be asked.
    """
    server = str(request.get("mcp_server_name", ""))[:64]
    if request.get("mode", "form") != "form":
        raise FormError(f"the server {server} wants an address opened, which the hive does not do")
    schema = request.get("requested_schema")
    properties = schema.get("properties") if isinstance(schema, dict) else None
    if not isinstance(schema, dict) or not isinstance(properties, dict) or not properties:
        raise FormError(f"the form of the server {server} has no fields")
    if len(properties) > MAX_FIELDS:
        raise FormError(
            f"the form of the server {server} has {len(properties)} fields, more than {MAX_FIELDS}"
        )
    said = [f"    {line}" for line in str(request.get("message", ""))[:MAX_TEXT].splitlines()]
    head = encodable("\n".join([f"The MCP server {server} asks:", *said]))
    required = schema.get("required") or []
    fields = [
        _field(str(name), field, head, optional=name not in required)
        for name, field in properties.items()
    ]
    key = key_of("elicitation", server, request.get("message"), schema)
    return Form(key, f"elicitation of {server}", tuple(fields))


def _field(name: str, schema: Json, head: str, *, optional: bool) -> Field:
    if not isinstance(schema, dict):
        raise FormError(f"the field {name!r} is not described by an object")
    title = " ".join(str(schema.get("title") or name).split())[:MAX_CHOICE]
    lines = [head, "", f"{encodable(title)}:"]
    if about := " ".join(str(schema.get("description") or "").split()):
        lines.append(f"    {encodable(about)[:MAX_TEXT]}")
    kind, multi = schema.get("type"), False
    choices: tuple[str, ...] = ()
    value: Callable[[list[str]], Json]
    if kind == "boolean":
        choices, value = (YES, NO), _boolean
    elif kind == "array":
        items = schema.get("items")
        names = _enumerated(name, items if isinstance(items, dict) else {})
        if not names:
            raise FormError(f"the field {name!r} is a list without an enumeration of its items")
        choices, multi, value = tuple(names), True, _several(names, schema)
    elif kind == "string" and (names := _enumerated(name, schema)):
        choices, value = tuple(names), _one(names)
    elif kind in _TYPES:
        value = _text(schema) if kind == "string" else _number(schema, whole=kind == "integer")
        form = f" ({schema['format']})" if isinstance(schema.get("format"), str) else ""
        bounds = f", {bounds}" if (bounds := _bounds(schema)) else ""
        lines.append(f"    Answer with {_TYPES[kind]}{form}{bounds}.")
    else:
        raise FormError(f"the field {name!r} has the type {str(kind)[:40]!r}")
    if "default" in schema:
        lines.append(f"    The server proposes: {encodable(str(schema['default']))[:MAX_CHOICE]}")
    return Field(name, "\n".join(lines), choices, multi, value, optional)


def _enumerated(name: str, schema: JsonObject) -> dict[str, Json]:
    """Return the values of an enumeration by their titles; none if it is not one."""
    listed = schema.get("oneOf") or schema.get("anyOf")
    if isinstance(listed, list):
        found = [
            (option.get("title") or option["const"], option["const"])
            for option in listed
            if isinstance(option, dict) and "const" in option
        ]
    elif isinstance(schema.get("enum"), list):
        values = schema["enum"]
        titles = schema.get("enumNames")
        named = titles if isinstance(titles, list) and len(titles) == len(values) else values
        found = list(zip(named, values, strict=True))
    else:
        return {}
    choices = _choices(name, [str(title) for title, _ in found])
    return dict(zip(choices, (value for _, value in found), strict=True))


def _choices(what: str, labels: Sequence[str]) -> tuple[str, ...]:
    """Return the labels as choices of a question: one line each, and no two alike."""
    choices = tuple(encodable(" ".join(label.split())) for label in labels)
    if len(choices) > MAX_CHOICES:
        raise FormError(f"{what!r} has {len(choices)} choices, more than {MAX_CHOICES}")
    if len(set(choices)) < len(choices) or {DECLINE, LEAVE_OUT} & set(choices):
        raise FormError(f"two of the choices of {what!r} are the same")
    if not all(choice and choice.isprintable() and len(choice) <= MAX_CHOICE for choice in choices):
        raise FormError(
            f"{what!r} has a choice that is not one line of 1 to {MAX_CHOICE} characters"
        )
    return choices


def _boolean(answer: list[str]) -> Json:
    if answer not in ([YES], [NO]):
        raise ValueError(f"{answer[0]!r} is neither {YES} nor {NO}")
    return answer == [YES]


def _one(names: Mapping[str, Json]) -> Callable[[list[str]], Json]:
    def value(answer: list[str]) -> Json:
        [name] = answer if len(answer) == 1 else [""]
        if name not in names:
            raise ValueError(f"{', '.join(answer)!r} is not one of the choices")
        return names[name]

    return value


def _several(names: Mapping[str, Json], schema: JsonObject) -> Callable[[list[str]], Json]:
    least, most = schema.get("minItems") or 0, schema.get("maxItems") or len(names)

    def value(answer: list[str]) -> Json:
        unknown = [name for name in answer if name not in names]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is not one of the choices")
        if not least <= len(answer) <= most:
            raise ValueError(f"it has {len(answer)} of the choices; choose {least} to {most}")
        return [names[name] for name in answer]

    return value


def _text(schema: JsonObject) -> Callable[[list[str]], Json]:
    least, most = schema.get("minLength") or 0, schema.get("maxLength") or math.inf

    def value(answer: list[str]) -> Json:
        text = "\n".join(answer)
        if not least <= len(text) <= most:
            raise ValueError(f"the text has {len(text)} characters; use {_bounds(schema)}")
        return text

    return value


def _number(schema: JsonObject, *, whole: bool) -> Callable[[list[str]], Json]:
    least, most = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)

    def value(answer: list[str]) -> Json:
        text = " ".join(answer).strip()[:40]
        try:
            number = int(text) if whole else float(text)
        except ValueError:
            raise ValueError(
                f"{text!r} is not {_TYPES['integer' if whole else 'number']}"
            ) from None
        if not math.isfinite(number) or not least <= number <= most:
            bounds = _bounds(schema) or "a finite number"
            raise ValueError(f"{text} is out of bounds; use {bounds}")
        return number

    return value


def _bounds(schema: JsonObject) -> str:
    """Return the bounds of a value in words; empty if it has none."""
    return " and ".join(
        words.format(schema[key])
        for key, words in (
            ("minimum", "at least {}"),
            ("maximum", "at most {}"),
            ("minLength", "at least {} characters"),
            ("maxLength", "at most {} characters"),
        )
        if isinstance(schema.get(key), int | float)
    )
