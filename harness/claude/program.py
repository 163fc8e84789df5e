"""The Claude Code program, which the SDK brings."""

from pathlib import Path


def binary() -> Path:
    """Return the path of the program."""
    import claude_agent_sdk  # not above: it needs a second of processor time

    return Path(claude_agent_sdk.__file__).parent / "_bundled" / "claude"
