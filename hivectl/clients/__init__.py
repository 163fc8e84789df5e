"""Clients of the hive's services, with the waits that commands need."""
