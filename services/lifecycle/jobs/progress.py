"""The journal lines of the running job, which carry its agent and its number."""

import logging
from collections.abc import Callable, Mapping
from contextvars import ContextVar

log = logging.getLogger(__name__)

_fields: ContextVar[Mapping[str, object]] = ContextVar("fields", default={})  # noqa: B039
_tell: ContextVar[Callable[[list[str]], None]] = ContextVar("tell", default=lambda lines: None)


def begin(fields: Mapping[str, object], tell: Callable[[list[str]], None]) -> None:
    """Give every later line of the current task these journal fields; call `tell` with each."""
    _fields.set(fields)
    _tell.set(tell)


def step(text: str) -> None:
    """Log the next step of the running job."""
    log.info(text, extra=dict(_fields.get()))
    _tell.get()([text])
