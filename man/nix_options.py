"""The typed options of the NixOS modules for hyperhive.toml, from its pydantic models.

An option that is not set is not written to the file, so that the default of Hyperhive applies.
`nix/setting-types.nix` has the types that NixOS itself does not have.
"""

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydantic import BaseModel

from man.settings import Schema, docstrings, models
from services.config import Config

FILE: Final = Path(__file__).parents[1] / "nix/settings.nix"

_HEADER: Final = """\
# Made by `make man` from services/config.py: change that file, not this one.
{ lib, freeform }:

let
  inherit (lib) types;
  inherit (import ./setting-types.nix { inherit lib freeform; })
    above
    atLeast
    between
    required
    section
    sections
    setting
    size
    withOptions
    ;
in
rec {
"""


def nix_options() -> str:
    """Return the text of `nix/settings.nix`."""
    return "".join([_HEADER, *_models(Config, set()), _model(Config, "file"), "}\n"])


def _models(model: type[BaseModel], done: set[type[BaseModel]]) -> Iterator[str]:
    """Yield the options of all sections below `model`, the inner ones first."""
    for below in models(model).values():
        if below not in done:
            done.add(below)
            yield from _models(below, done)
            yield _model(below, _name(below)) + "\n"


def _model(model: type[BaseModel], name: str) -> str:
    texts, below = docstrings(model), models(model)
    properties = model.model_json_schema()["properties"]
    lines = [f"  {name} = {{\n"]
    for key in model.model_fields:
        if inner := below.get(key):
            kind = properties[key].get("type")
            text = texts.get(key) or " ".join((inspect.getdoc(inner) or "").split())
            if kind == "array":
                lines.append(_option(key, "setting", f"(types.listOf {_of(inner)})", text, None))
            else:
                maker = "sections" if kind == "object" else "section"
                lines.append(f"    {key} = {maker} {_name(inner)} {_quoted(text)};\n")
        else:
            schema = properties[key]
            is_required = model.model_fields[key].is_required()
            maker = "required" if is_required else "setting"
            default = None if is_required else schema.get("default")
            lines.append(_option(key, maker, _type(schema), texts[key], default))
    return "".join([*lines, "  };\n"])


def _option(key: str, maker: str, kind: str, text: str, default: object) -> str:
    if default not in (None, [], {}):
        text = f"{text} Default: `{json.dumps(default)}`."
    return f"    {key} = {maker} {kind} {_quoted(text)};\n"


def _of(model: type[BaseModel]) -> str:
    return f"(withOptions {_name(model)})"


def _name(model: type[BaseModel]) -> str:
    """Return the name of a model in the file, such as `sendLimits`."""
    return model.__name__[0].lower() + model.__name__[1:]


def _type(schema: Schema) -> str:
    """Return the type of a key as an expression of Nix, in parentheses where it needs them."""
    match schema:
        case {"anyOf": [dict(first), {"type": "null"}]}:
            return _type(first)
        case {"enum": list(values)}:
            return f"(types.enum [ {' '.join(map(_quoted, map(str, values)))} ])"
        case {"type": "array", "items": dict(items)}:
            return f"(types.listOf {_type(items)})"
        case {"type": "object", "additionalProperties": dict(values)}:
            return f"(types.attrsOf {_type(values)})"
        case {"type": "string", "pattern": str(pattern)}:
            return f"(types.strMatching {_quoted(_extended(pattern))})"
        case {"type": "string"}:
            return "types.str"
        case {"type": "boolean"}:
            return "types.bool"
    return _number(schema)


def _extended(pattern: str) -> str:
    """Return a pattern of Python as one of Nix: of POSIX, and for a whole text."""
    text = pattern.removeprefix("^").removesuffix("$").replace(r"\s", "[:space:]")
    if re.search(r"\\[A-Za-z]|\(\?", text):
        raise ValueError(f"Nix has no pattern such as {pattern}")
    return text


def _number(schema: Schema) -> str:
    match schema:
        case {"type": "integer", "ge": int(least)}:
            return f"(size {least})"
        case {"type": "integer", "minimum": int(least), "maximum": int(most)}:
            return f"(types.ints.between {least} {most})"
        case {"type": "integer", "minimum": int(least)}:
            return f"(atLeast {least})"
        case {"type": "number", "minimum": least, "maximum": most}:
            return f"(between {least} {most})"
        case {"type": "number", "exclusiveMinimum": least, "maximum": most}:
            return f"(above {least} {most})"
    raise ValueError(f"there is no type of Nix for {schema}")


def _quoted(text: str) -> str:
    """Return a text as a string of Nix."""
    escaped = re.sub(r'(["\\]|\$\{)', r"\\\1", text).replace("\n", "\\n")
    return f'"{escaped}"'
