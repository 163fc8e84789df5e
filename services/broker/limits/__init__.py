"""Limits on senders: recipients, sizes and rates."""
