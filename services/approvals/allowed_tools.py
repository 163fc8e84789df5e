"""A rule added to the allowed_tools of an agent.toml, with all else as its author wrote it."""

import json
import re
from typing import Final

from services import agentfile
from wire.errors import Conflict

_KEY: Final = "allowed_tools"
_LIST: Final = re.compile(rf"^[ \t]*{_KEY}[ \t]*=[ \t]*\[", re.MULTILINE)


def with_rule(text: str, rule: str) -> str | None:
    """Return the text of an agent.toml with one more rule in `allowed_tools`.

    The result is compared with what it should say, so a line that only looks like the key (in a
    text of several lines, or in a section) changes nothing.

    Args:
        text: the text, which is valid.
        rule: a rule that agentfile.check_tool has accepted.

    Returns:
        None: The rule is there already.

    Raises:
        Conflict: the rule cannot be added to this text.
    """
    before = agentfile.loads(text)
    rules = before.get(_KEY, [])
    if not isinstance(rules, list):
        raise _refusal(rule)
    if rule in rules:
        return None
    wanted = {**before, _KEY: [rule, *rules]}
    quoted = json.dumps(rule)
    if _KEY not in before:
        # The first line belongs to no section.
        candidates = [f"{_KEY} = [{quoted}]\n{text}"]
    else:
        comma = ", " if rules else ""
        candidates = [
            f"{text[: found.end()]}{quoted}{comma}{text[found.end() :]}"
            for found in _LIST.finditer(text)
        ]
    for candidate in candidates:
        try:
            if agentfile.loads(candidate) == wanted:
                return candidate
        except ValueError:
            continue  # What was found is not the list: its text stands in a string, for example.
    raise _refusal(rule)


def _refusal(rule: str) -> Conflict:
    return Conflict(
        f"{agentfile.NAME} is written in a way in which {rule!r} cannot be added to {_KEY}; have "
        "the manager add it, and approve that request."
    )
