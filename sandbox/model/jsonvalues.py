"""The JSON values of requests, answers and scenario files."""

from typing import Any, TypeAlias

Json: TypeAlias = Any
"""A JSON value of any shape."""

JsonObject: TypeAlias = dict[str, Json]
"""A JSON object."""
