"""The agent's list of steps, in a file: it survives compaction, a new session and restarts."""

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from harness.jsonvalues import Json, JsonObject
from harness.prompts import own_file

log = logging.getLogger(__name__)

FILE: Final = "hyperhive-todo.json"

MAX_ITEMS: Final = 100
MAX_TEXT: Final = 500
MAX_BYTES: Final = 512 * 1024


class Progress(StrEnum):
    """The progress of a step."""

    OPEN = "open"
    DOING = "doing"
    DONE = "done"


@dataclass(frozen=True)
class Item:
    """A step."""

    text: str
    state: Progress = Progress.OPEN


class TodoError(Exception):
    """The list cannot be kept; the text is for the model."""


class TodoList:
    """The list in the agent's directory. The agent may write the file, too."""

    def __init__(self, state: Path) -> None:
        self._path = state / FILE

    @property
    def items(self) -> tuple[Item, ...]:
        """The steps; none if the file is missing or not valid."""
        text = own_file.read(self._path, MAX_BYTES)
        if not text:
            return ()
        try:
            return parsed(json.loads(text)["items"])
        except (ValueError, RecursionError, TypeError, KeyError, TodoError) as exc:
            log.warning("%s is not valid: %s", self._path, exc)
            return ()

    def replace(self, items: Sequence[Item]) -> None:
        """Replace the list.

        Raises:
            TodoError: the list cannot be written.
        """
        data = json.dumps({"items": [shown(item) for item in items]}, ensure_ascii=False, indent=1)
        new = self._path.with_name(f".{self._path.name}.new")
        try:
            new.unlink(missing_ok=True)
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
                file.write(data)
            new.replace(self._path)
        except OSError as exc:
            raise TodoError(f"The list cannot be written: {exc.strerror or exc}.") from None

    def shown(self) -> JsonObject:
        """Return the list as it is shown."""
        return {"items": [shown(item) for item in self.items]}

    def reminder(self) -> str | None:
        """Return the unfinished steps for the wake prompt; None if there are none."""
        left = [item for item in self.items if item.state is not Progress.DONE]
        if not left:
            return None
        lines = [f"- [{item.state}] {item.text}" for item in left]
        return "\n".join(["Your list (the tool `todo`) still has:", *lines])


def parsed(value: Json) -> tuple[Item, ...]:
    """Return the steps in a JSON value.

    Raises:
        TodoError: the value is not a list of steps, or has too many.
    """
    if not isinstance(value, list):
        raise TodoError("`items` must be a list of objects with a text and an optional state.")
    if len(value) > MAX_ITEMS:
        raise TodoError(
            f"The list has {len(value)} items, more than {MAX_ITEMS}: leave out finished ones."
        )
    return tuple(_item(each) for each in value)


def shown(item: Item) -> JsonObject:
    """Return a step as it is shown."""
    return {"text": item.text, "state": item.state.value}


def _item(value: Json) -> Item:
    if not isinstance(value, dict) or not isinstance(value.get("text"), str):
        raise TodoError("Each item must be an object with a text and an optional state.")
    text = " ".join(value["text"].split())
    if not 1 <= len(text) <= MAX_TEXT:
        raise TodoError(
            f"The text of an item has {len(text)} characters: use 1 to {MAX_TEXT} characters."
        )
    state = value.get("state", Progress.OPEN.value)
    try:
        return Item(text, Progress(state))
    except ValueError:
        states = ", ".join(Progress)
        raise TodoError(f"{str(state)[:64]!r} is not a state: use one of {states}.") from None
