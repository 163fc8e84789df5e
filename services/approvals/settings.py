"""An account of the settings that a change of agent.toml changes, beside the diff of its lines.

A line that changes may change the meaning of others: one that ends a text early turns the rest of
the text into settings. The account is made from the parsed files, so it shows what will hold.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Final

from services import agentfile

TITLE: Final = "The settings that change:"
LONGEST: Final = 200
"""The characters of a value that is shown; of a longer one, its length is."""

UNSET: Final = "not set"


def account(old: str | None, new: str) -> str:
    """Return the lines to show before the diff; empty when no setting changes.

    Args:
        old: the deployed agent.toml; None: there is none.
        new: the requested one.
    """
    try:
        before = dict(_settings(agentfile.loads(old or "")))
        after = dict(_settings(agentfile.loads(new)))
    except ValueError as error:
        return f"{TITLE} they cannot be compared. {error}\n\n"
    lines = [
        f"  {key}: {_change(before.get(key), after.get(key))}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]
    return "\n".join([TITLE, *lines, "", ""]) if lines else ""


def _settings(values: Mapping[str, object], table: str = "") -> Iterator[tuple[str, str]]:
    """Yield each key, with the tables that it is in, and its value as JSON, which is one line."""
    for key, value in values.items():
        # A key may have dots and line breaks of its own.
        name = key if key.replace("-", "").replace("_", "").isalnum() else json.dumps(key)
        if isinstance(value, Mapping) and value:
            yield from _settings(value, f"{table}{name}.")
        else:
            yield f"{table}{name}", json.dumps(value, ensure_ascii=False, default=str)


def _change(old: str | None, new: str | None) -> str:
    shown = [_value(old), _value(new)]
    return f"{shown[0]} -> {shown[1]}" if shown[0] != shown[1] else f"{shown[0]}, changed"


def _value(text: str | None) -> str:
    if text is None:
        return UNSET
    return text if len(text) <= LONGEST else f"({len(text)} characters)"
