"""Clients of the other services of the hive, over the bus."""
