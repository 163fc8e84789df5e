"""The checks of the arguments: texts, commits, configurations."""

import re
from typing import Final

from services import agentfile, egress
from wire.errors import InvalidArgument

MAX_TEXT: Final = 4000
"""Characters in a reason, a description or a note."""

MAX_PATH: Final = 1024
"""Characters of the path of a file."""

_COMMIT: Final = re.compile(r"[0-9a-f]{7,40}")
_WHOLE: Final = re.compile(r"[0-9a-f]{40}")
_DEPLOYED: Final = re.compile(r"deployed/[0-9]{1,19}")


def check_text(what: str, text: str, *, at_least: int) -> None:
    """Check the length of a text, and that it is not blank where `at_least` is 1.

    Raises:
        InvalidArgument: it is too short or too long.
    """
    if not at_least <= len(text.strip()) or len(text) > MAX_TEXT:
        raise InvalidArgument(
            f"The {what} has {len(text)} characters; it must have {at_least} to {MAX_TEXT}, and "
            "not only blanks."
        )


def check_commit(commit: str) -> None:
    """Check that `commit` names a commit by its digits: a branch may move.

    Raises:
        InvalidArgument: it does not.
    """
    if not _COMMIT.fullmatch(commit):
        raise InvalidArgument(
            f"{commit[:80]!r} is not a valid commit: give 7 to 40 of its hexadecimal digits, "
            "as `git rev-parse HEAD` shows them."
        )


def check_whole_commit(commit: str) -> None:
    """Check that `commit` is the whole name of a commit: a shorter one may fit several.

    Raises:
        InvalidArgument: it is not.
    """
    if not _WHOLE.fullmatch(commit):
        raise InvalidArgument(
            f"{commit[:80]!r} is not the whole name of a commit: give the 40 hexadecimal digits of "
            "the commit that you decide about, as `hivectl pending --json` shows them."
        )


def check_deployed_tag(tag: str) -> None:
    """Check that `tag` is the tag of a deploy.

    Raises:
        InvalidArgument: it is not.
    """
    if not _DEPLOYED.fullmatch(tag):
        raise InvalidArgument(
            f"{tag[:80]!r} is not a valid tag of a deployment: give one such as deployed/3 "
            "(`hivectl deploy-log NAME` lists them)."
        )


def check_path(path: str) -> None:
    """Check the path of a file in a configuration.

    Raises:
        InvalidArgument: it cannot be one.
    """
    parts = path.split("/")
    if (
        not path.isprintable()
        or len(path) > MAX_PATH
        or any(part in ("", ".", "..") or part.lower() == ".git" for part in parts)
    ):
        raise InvalidArgument(
            f"{path[:80]!r} is not a valid path of a file: give one such as {agentfile.NAME} or "
            f"notes/plan.md, of at most {MAX_PATH} characters."
        )


def check_rule(rule: str) -> None:
    """Check a permission rule.

    Raises:
        InvalidArgument: agent.toml does not take it.
    """
    try:
        agentfile.check_tool(rule)
    except ValueError as error:
        raise InvalidArgument(f"{rule[:80]!r} is not a valid rule: {error}.") from error


def checked_egress(rule: str) -> egress.Rule:
    """Return a rule for the hosts to which an agent may connect.

    Raises:
        InvalidArgument: agent.toml does not take it.
    """
    try:
        return egress.parse(rule)
    except ValueError as error:
        raise InvalidArgument(f"{rule[:80]!r} is not a valid rule: {error}.") from error


def check_config(text: str) -> None:
    """Check the text of an agent.toml.

    Raises:
        InvalidArgument: it is not valid; the sentence says where.
    """
    try:
        agentfile.parse(text)
    except ValueError as error:
        raise InvalidArgument(str(error)) from error
