"""Errors that keep a service from starting, apart from those that have a name on the bus."""


class ConfigError(Exception):
    """The configuration cannot be used; one sentence names the file, the key and the rule."""
