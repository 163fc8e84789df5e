"""Delivery of messages: what is leased from the broker, and which connection holds it."""
