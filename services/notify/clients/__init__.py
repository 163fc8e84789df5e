"""Clients of the services that notifications come from: their lists, and when to ask for them."""
