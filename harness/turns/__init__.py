"""Turns: the loop that runs them, and what is known of one turn."""
