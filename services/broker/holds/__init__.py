"""Held agents, and the loops for which the broker holds agents."""
