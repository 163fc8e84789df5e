"""Clients of the other services: feeds, the operator's actions and the details of one agent."""
