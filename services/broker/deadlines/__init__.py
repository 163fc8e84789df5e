"""Deadlines, and the clocks they follow."""
