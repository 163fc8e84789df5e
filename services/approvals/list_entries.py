"""An entry added to a list of an agent.toml, with all else as its author wrote it."""

import json
import re
from typing import Final

from services import agentfile
from wire.errors import Conflict

TOOLS: Final = "allowed_tools"
"""The key of the tools that an agent may use."""
EGRESS: Final = "egress"
"""The key of the hosts to which an agent may connect."""


def with_entry(text: str, key: str, entry: str) -> str | None:
    """Return the text of an agent.toml with one more entry in the list `key`.

    The parsed result is compared with the wanted one, so a line that only looks like the key (in a
    text of several lines, or in a section) changes nothing.

    Args:
        text: the text, which is valid.
        key: a key of the whole file.
        entry: a text that agentfile accepts in that list.

    Returns:
        None: The entry is there already.

    Raises:
        Conflict: the entry cannot be added to this text.
    """
    text = text.removeprefix(agentfile.BYTE_ORDER_MARK)
    before = agentfile.loads(text)
    entries = before.get(key, [])
    if not isinstance(entries, list):
        raise _refusal(key, entry)
    if entry in entries:
        return None
    wanted = {**before, key: [entry, *entries]}
    quoted = json.dumps(entry)
    if key not in before:
        # The first line belongs to no section.
        candidates = [f"{key} = [{quoted}]\n{text}"]
    else:
        comma = ", " if entries else ""
        candidates = [
            f"{text[: found.end()]}{quoted}{comma}{text[found.end() :]}"
            for found in re.finditer(rf"^[ \t]*{key}[ \t]*=[ \t]*\[", text, re.MULTILINE)
        ]
    for candidate in candidates:
        try:
            if agentfile.loads(candidate) == wanted:
                return candidate
        except ValueError:
            continue  # What was found is not the list: its text stands in a string, for example.
    raise _refusal(key, entry)


def _refusal(key: str, entry: str) -> Conflict:
    return Conflict(
        f"{agentfile.NAME} is written in a way in which {entry!r} cannot be added to {key}; have "
        "the manager add it, and approve that request."
    )
