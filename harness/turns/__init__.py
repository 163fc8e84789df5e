"""Turns: the loop that runs them, and the state of one turn."""
