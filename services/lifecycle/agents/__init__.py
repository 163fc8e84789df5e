"""Agents: the record and the state of each, and the resources assigned to it."""
