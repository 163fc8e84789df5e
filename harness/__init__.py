"""Runs inside an agent's container: leases messages, runs turns of Claude Code, acknowledges."""
