"""What keeps a room from starting, apart from the errors that have a name on the bus."""


class ConfigError(Exception):
    """The configuration cannot be used; the one sentence says file, key and what is allowed."""
