"""The journal lines of the running job, which carry its agent and its number."""

import logging
from collections.abc import Mapping
from contextvars import ContextVar

log = logging.getLogger(__name__)

_fields: ContextVar[Mapping[str, object]] = ContextVar("fields", default={})  # noqa: B039


def begin(fields: Mapping[str, object]) -> None:
    """Give every later line of the current task these journal fields."""
    _fields.set(fields)


def step(text: str) -> None:
    """Log the next step of the running job."""
    log.info(text, extra=dict(_fields.get()))
