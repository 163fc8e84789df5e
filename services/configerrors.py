"""The first error in a file of settings, as one sentence that names the key and the rule."""

import re
import reprlib
from typing import Any, Final, get_args, get_origin

from pydantic import BaseModel, ValidationError

from services.configvalues import UNSHOWN

_KEY: Final = re.compile(r"[\w*-]{1,64}", re.ASCII)

_TOML: Final = {
    "a valid tuple": "a list",
    "a valid dictionary": "a table",
    ", unable to parse string as an integer": "",
    ", unable to parse string as a number": "",
}
"""The words of TOML for those in pydantic's messages."""


def sentence(model: type[BaseModel], error: ValidationError) -> str:
    """Return the first error in the input of `model` as one sentence."""
    first = error.errors()[0]
    # pydantic adds this part when the key itself, not its value, is not valid.
    key = ".".join(_shown(part) for part in first["loc"] if part != "[key]")
    if first["type"] == "extra_forbidden":
        return f"{key} is not a known key; known keys: {_known(model, first['loc'][:-1])}."
    message = str(first["msg"]).removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    for python, toml in _TOML.items():
        message = message.replace(python, toml)
    if first["type"] == UNSHOWN:
        return f"{key} is not valid: {message}."
    return f"{key} = {reprlib.repr(first['input'])} is not valid: {message}."


def _shown(part: str | int) -> str:
    """Return a key as in the file, quoted if it has other characters: a key may be any text."""
    text = str(part)
    return text if _KEY.fullmatch(text) else reprlib.repr(text)


def _known(model: type[BaseModel], path: tuple[str | int, ...]) -> str:
    """Return the keys of the section at `path`, which may lead through tables of sections."""
    at: Any = model
    for part in path:
        if get_origin(at) is dict:
            at = get_args(at)[1]
        elif get_origin(at) is tuple:
            at = get_args(at)[0]
        else:
            at = at.model_fields[str(part)].annotation
    return ", ".join(at.model_fields)
