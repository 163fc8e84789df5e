"""The Claude Code program, which the SDK brings, or which is installed beside it."""

import shutil
import sys
from pathlib import Path
from typing import Final

INSTALLED: Final = "share/hyperhive/claude"
"""The program below the prefix of the installation, where the SDK is built without it, as in
nixpkgs: a link to the program of another package."""


class MissingProgramError(Exception):
    """Claude Code is not installed; the text names the places and the remedy."""


def binary(prefix: Path | None = None) -> Path:
    """Return the path of the program.

    Args:
        prefix: the directory in which Hyperhive is installed; by default that of this interpreter.

    Raises:
        MissingProgramError: there is none.
    """
    import claude_agent_sdk  # not above: it needs a second of processor time

    bundled = Path(claude_agent_sdk.__file__).parent / "_bundled" / "claude"
    installed = (prefix or Path(sys.prefix)) / INSTALLED
    for path in (bundled, installed):
        if path.is_file():
            return path
    if found := shutil.which("claude"):
        return Path(found)
    raise MissingProgramError(
        f"There is no Claude Code: neither {bundled} nor {installed} exists, and PATH has no "
        "program claude. The installation is incomplete. Repeat it."
    )
