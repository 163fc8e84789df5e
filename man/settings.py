"""The sections and keys of a TOML file in Markdown, from its pydantic model.

Types, bounds and defaults come from the JSON schema of the model, descriptions from the docstrings
below the fields.
"""

import ast
import inspect
import itertools
import json
import sys
from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias, get_args

from pydantic import BaseModel

Schema: TypeAlias = Mapping[str, object]

_TYPES: Final = {
    "integer": "an integer",
    "number": "a number",
    "boolean": "a boolean",
    "string": "a string",
}


def settings(model: type[BaseModel]) -> str:
    """Return the keys of the whole file `model`, with a subsection for each section."""
    return "\n".join(_Page(model).lines())


class _Page:
    """A walk over the sections of one file."""

    def __init__(self, model: type[BaseModel]) -> None:
        self._model = model
        self._described: dict[type[BaseModel], str] = {}
        """The section that describes the keys of each model."""

    def lines(self) -> Iterator[str]:
        keys = [*self._keys(self._model)]
        if keys:
            yield from ["## Top level", "", *keys]
        yield from self._sections(self._model, "")

    def _sections(self, model: type[BaseModel], path: str) -> Iterator[str]:
        for name, below in models(model).items():
            kind = model.model_json_schema()["properties"][name].get("type")
            place = f"{path}{name}" + (".NAME" if kind == "object" else "")
            yield from [f"## {f'[[{place}]]' if kind == 'array' else f'[{place}]'}", ""]
            if known := self._described.get(below):
                yield from [f"The keys are those of `[{known}]`.", ""]
                continue
            self._described[below] = place
            yield from [_joined(inspect.getdoc(below) or ""), ""]
            default = model.model_fields[name].default
            yield from self._keys(below, default if isinstance(default, BaseModel) else None)
            yield from self._sections(below, f"{place}.")

    def _keys(self, model: type[BaseModel], section: BaseModel | None = None) -> Iterator[str]:
        """Yield the keys of a section; `section`: it with its defaults, if these are others."""
        properties = model.model_json_schema()["properties"]
        texts = docstrings(model)
        for name in model.model_fields:
            if name not in models(model):
                schema = properties[name]
                if section is not None and getattr(section, name) is not None:
                    schema = schema | {"default": getattr(section, name)}
                yield f"**{name}**"
                yield f":   {texts[name]}"
                yield ""
                yield f"    {_facts(schema)}"
                yield ""


def models(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """Return the fields of `model` that are sections of their own, or tables or lists of some."""
    found = {}
    for name, field in model.model_fields.items():
        for part in (field.annotation, *get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                found[name] = part
    return found


def docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Return the docstring below each field of `model`, as one line."""
    source = inspect.getsource(sys.modules[model.__module__])
    classes = [n for n in ast.parse(source).body if isinstance(n, ast.ClassDef)]
    [body] = [node.body for node in classes if node.name == model.__name__]
    found = {}
    for field, below in itertools.pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            match below:
                case ast.Expr(ast.Constant(str(text))):
                    found[field.target.id] = _joined(text)
    return found


def _facts(schema: Schema) -> str:
    """Return type, bounds and default of a key as a sentence."""
    kind, default = _kind(schema), schema.get("default")
    if default is None or default in ("", [], {}):
        return f"{kind[0].upper()}{kind[1:]}."
    return f"{kind[0].upper()}{kind[1:]}; default: `{json.dumps(default)}`."


def _kind(schema: Schema) -> str:
    match schema:
        case {"anyOf": [dict(first), *_]}:
            return _kind(first)
        case {"enum": list(values)}:
            return f"one of {_values(values)}"
        case {"type": "array", "items": dict(items)}:
            return f"a list of {_plural(items)}"
        case {"type": "object"}:
            return "a table of strings"
        case {"type": "integer" | "number"}:
            return _number(schema)
        case {"type": str(name)}:
            return _TYPES[name]
    raise ValueError(f"there is no name for the type {schema}")


def _plural(items: Schema) -> str:
    match items:
        case {"enum": list(values)}:
            return _values(values)
        case {"type": "integer"}:
            return "integers"
    return "strings"


def _number(schema: Schema) -> str:
    kind = _TYPES[str(schema["type"])]
    match schema:
        case {"minimum": int(least), "maximum": int(most)}:
            return f"{kind} from {least} to {most}"
        case {"minimum": int(least)}:
            return f"{kind}, at least {least}"
        case {"exclusiveMinimum": int(least) | float(least)}:
            return f"{kind} above {least:g}"
    return kind


def _values(values: list[object]) -> str:
    return ", ".join(f"`{json.dumps(value)}`" for value in values)


def _joined(text: str) -> str:
    return " ".join(text.split())
