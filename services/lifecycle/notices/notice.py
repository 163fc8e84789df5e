"""Messages for the manager and the operator that the broker does not have yet."""

from collections.abc import Iterable
from dataclasses import dataclass

from wire import names


@dataclass(frozen=True)
class Notice:
    """An undelivered message. The broker drops a message whose `dedupe_key` it has seen."""

    kind: str
    body: str
    dedupe_key: str
    recipient: str = names.MANAGER
    number: int = 0
    """The number in the store; 0 before it is stored."""


def notices(kind: str, body: str, key: str, recipients: Iterable[str]) -> list[Notice]:
    """Return the same message for several recipients, with a dedupe key for each."""
    return [Notice(kind, body, f"{key}:to-{name}", name) for name in recipients]
