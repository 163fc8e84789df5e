"""The record of what the agent does: events, turns, the state, and the server that shows them."""
