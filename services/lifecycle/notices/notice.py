"""Messages for the manager and the operator that the broker does not have yet."""

from collections.abc import Iterable
from dataclasses import dataclass

from wire import names


@dataclass(frozen=True)
class Notice:
    """A message that the broker does not have yet; one with a known `dedupe_key` is dropped."""

    kind: str
    body: str
    dedupe_key: str
    recipient: str = names.MANAGER
    number: int = 0


def notices(kind: str, body: str, key: str, recipients: Iterable[str]) -> list[Notice]:
    """The same message to several; each has a dedupe key of its own."""
    return [Notice(kind, body, f"{key}:to-{name}", name) for name in recipients]
