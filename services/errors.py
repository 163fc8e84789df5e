"""Errors that keep a service from starting, apart from those that have a name on the bus."""

from wire.errors import Unavailable


class DiskFull(Unavailable):
    """The disk has no room for a store: the service can start when there is some again."""


class ConfigError(Exception):
    """The configuration cannot be used; one sentence names the file, the key and the rule."""
