"""The login of this container's agent: `python -m harness.login`, on pipes.

Claude Code prints the address of a page, reads the code of that page from standard input, and
prints the result. The harness watches the file in which Claude Code stores the credentials.
"""

import os
import sys
from pathlib import Path

import claude_agent_sdk


def binary() -> Path:
    """Return the path of the Claude Code program, which the harness uses too."""
    return Path(claude_agent_sdk.__file__).parent / "_bundled" / "claude"


if __name__ == "__main__":
    program = binary()
    if not program.is_file():
        sys.exit(
            f"There is no Claude Code at {program}: the installation is incomplete. Repeat it."
        )
    os.execv(program, [str(program), "auth", "login"])  # noqa: S606 - the purpose of this module
