"""The operator's choices of model and effort, which survive restarts and rebuilds."""

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from harness.hive_client import reportable_model

if TYPE_CHECKING:
    from claude_agent_sdk import EffortLevel

log = logging.getLogger(__name__)

MODEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/@\[\]-]{0,127}")

EFFORTS: Final = ("low", "medium", "high", "xhigh", "max")

_MARK: Final = "# chosen by the operator"
"""The second line of each file. Files without the line are from earlier versions, which kept the
name of the model that had answered.
"""


class ChoiceError(Exception):
    """A choice is invalid; the text names the value, the rule and the remedy."""


class Choices:
    """The choices, in files below the agent's directory."""

    def __init__(self, state: Path) -> None:
        self._model = state / "hyperhive-model"
        self._effort = state / "hyperhive-effort"

    @property
    def model(self) -> str | None:
        """The name of the chosen model; None if there is no choice."""
        name = _read(self._model)
        return name if name and MODEL.fullmatch(name) else None

    @property
    def effort(self) -> "EffortLevel | None":
        """The chosen effort; None if there is no choice."""
        level = _read(self._effort)
        return cast("EffortLevel", level) if level in EFFORTS else None

    def setting(self, configured: str | None) -> str:
        """Return the model for which turns ask; empty if Claude Code chooses it.

        Args:
            configured: the model of the configuration.
        """
        return self.model or reportable_model(configured) or ""

    def choose_model(self, name: str) -> None:
        """Choose a model; an empty name ends the choice.

        Raises:
            ChoiceError: the name is invalid, or cannot be saved.
        """
        if name and not MODEL.fullmatch(name):
            raise ChoiceError(
                f"{name!r} is not a valid name of a model: it has at most 128 letters, digits and"
                " characters of _.:/@[]-, and begins with a letter or digit."
            )
        _write(self._model, name)

    def choose_effort(self, level: str) -> None:
        """Choose an effort; an empty level ends the choice.

        Raises:
            ChoiceError: there is no such level, or it cannot be saved.
        """
        if level and level not in EFFORTS:
            raise ChoiceError(f"{level!r} is not an effort: use {', '.join(EFFORTS)} or default.")
        _write(self._effort, level)


def _read(path: Path) -> str | None:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return None
    return lines[0] if lines[1:2] == [_MARK] else None


def _write(path: Path, value: str) -> None:
    try:
        if value:
            path.write_text(f"{value}\n{_MARK}\n", encoding="utf-8")
        else:
            path.unlink(missing_ok=True)
    except OSError as exc:
        raise ChoiceError(f"{path} cannot be written: {exc.strerror}.") from None
