"""Logs this container's agent in: `python -m harness.login`, on pipes.

Claude Code prints the address of a page, reads the code of that page from standard input, and
says how it went. What it stores is where the harness watches for it, so that goes on by itself.
"""

import os
import sys
from pathlib import Path

import claude_agent_sdk


def binary() -> Path:
    """The Claude Code that the harness uses, too."""
    return Path(claude_agent_sdk.__file__).parent / "_bundled" / "claude"


if __name__ == "__main__":
    program = binary()
    if not program.is_file():
        sys.exit(f"There is no Claude Code at {program}.")
    os.execv(program, [str(program), "auth", "login"])  # noqa: S606 - that is what it is for
