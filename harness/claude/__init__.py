"""Claude Code: its session, its options, and the control group of its commands."""
