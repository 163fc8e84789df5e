"""The record of the agent's work: events, turns, the state, and the server that shows them."""
