"""The JSON values of the hive, of Claude Code and of configuration files."""

from typing import Any, TypeAlias

Json: TypeAlias = Any
"""A JSON value from outside, of any shape until it has been checked."""

JsonObject: TypeAlias = dict[str, Json]
"""A JSON object."""
