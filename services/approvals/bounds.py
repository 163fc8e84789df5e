"""What a caller may say: names, texts, commits, configurations."""

import re
from typing import Final

from services import agentfile
from wire import names
from wire.errors import InvalidArgument

MAX_TEXT: Final = 4000
"""Characters in a reason or a note."""

_COMMIT: Final = re.compile(r"[0-9a-f]{7,40}")
_DEPLOYED: Final = re.compile(r"deployed/[0-9]{1,19}")


def check_name(agent: str) -> None:
    """Raises InvalidArgument for what no agent may be called."""
    if not names.AGENT_NAME.fullmatch(agent):
        raise InvalidArgument(
            f"{agent[:40]!r} is no name for an agent: it takes 1 to 9 of a-z, 0-9 and -, "
            "and begins with a letter."
        )
    if agent in names.RESERVED_NAMES:
        raise InvalidArgument(f"The name {agent} is reserved; choose another one.")


def check_text(what: str, text: str, *, at_least: int) -> None:
    """Raises InvalidArgument for a text that is too short or too long."""
    if not at_least <= len(text.strip()) or len(text) > MAX_TEXT:
        raise InvalidArgument(f"The {what} takes {at_least} to {MAX_TEXT} characters.")


def check_commit(commit: str) -> None:
    """Raises InvalidArgument for what is no name of a commit: a branch may move, it does not."""
    if not _COMMIT.fullmatch(commit):
        raise InvalidArgument(
            f"{commit[:80]!r} is no commit: give 7 to 40 of its hexadecimal digits, "
            "as `git rev-parse HEAD` shows them."
        )


def check_deployed(tag: str) -> None:
    """Raises InvalidArgument for a tag that does not say what was deployed once."""
    if not _DEPLOYED.fullmatch(tag):
        raise InvalidArgument(
            f"{tag[:80]!r} says nothing that was deployed; give a tag such as deployed/3 "
            "(`hivectl deploy-log NAME` lists them)."
        )


def check_file(text: str) -> None:
    """Raises InvalidArgument for an agent.toml that does not fit."""
    try:
        agentfile.parse(text)
    except ValueError as error:
        raise InvalidArgument(str(error)) from error
