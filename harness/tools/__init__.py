"""The tools of the harness itself, which Claude Code calls in this process."""
