"""Retention and backups."""
