"""A project of the agent, as harness.json describes it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.config import Config, Paths

_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,31}(?<!-)")


@dataclass(frozen=True)
class Project:
    """A project of the agent.

    Attributes:
        name: Its name.
        readonly: Whether the agent hands back no changes.
        branches: The branches into which its changes may go; empty: all.
        wake: Whether the agent begins a turn of its own when the branch of the project moves.
    """

    name: str
    readonly: bool = False
    branches: tuple[str, ...] = ()
    wake: bool = False


def projects_of(config: Config) -> list[Project]:
    """Return the projects of the agent; entries that are not valid are left out."""
    return list(_parsed(config))


def _parsed(config: Config) -> Iterable[Project]:
    for entry in config.projects:
        name, branches = entry.get("name"), entry.get("branches") or []
        if isinstance(name, str) and _NAME.fullmatch(name) and isinstance(branches, list):
            readonly, wake = entry.get("readonly") is True, entry.get("wake") is True
            yield Project(name, readonly, tuple(map(str, branches)), wake)


def working_directory(config: Config, paths: Paths) -> Path:
    """Return the directory in which Claude Code works.

    Returns:
        The working copy of the only project; the agent's directory if there is not just one, or if
        it has no working copy.
    """
    projects = projects_of(config)
    copy = paths.work / projects[0].name if len(projects) == 1 else paths.state
    return copy if copy.is_dir() else paths.state
