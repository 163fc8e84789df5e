"""A message on the bus: its header, and its body as plain values."""

from dataclasses import dataclass, field
from enum import IntEnum

from wire.types import Value


class Kind(IntEnum):
    """The types of messages, with their numbers in the header."""

    CALL = 1
    RETURN = 2
    ERROR = 3
    SIGNAL = 4


@dataclass(slots=True, eq=False)
class Message:
    """A message. Fields that are empty or 0 are not in the header; sending sets `serial`."""

    kind: Kind
    path: str = ""
    interface: str = ""
    member: str = ""
    error_name: str = ""
    reply_serial: int = 0
    destination: str = ""
    sender: str = ""
    signature: str = ""
    body: list[Value] = field(default_factory=list)
    serial: int = 0
    no_reply: bool = False
    """Set for a call that expects no answer."""
    size: int = 0
    """The bytes of a received message."""


def call(
    destination: str, path: str, interface: str, member: str, signature: str, body: list[Value]
) -> Message:
    """Return a call of a method."""
    return Message(
        Kind.CALL,
        path,
        interface,
        member,
        destination=destination,
        signature=signature,
        body=body,
    )


def answer(to: Message, signature: str, body: list[Value]) -> Message:
    """Return the reply to the call `to` with its results."""
    return Message(
        Kind.RETURN,
        reply_serial=to.serial,
        destination=to.sender,
        signature=signature,
        body=body,
    )


def refusal(to: Message, name: str, text: str) -> Message:
    """Return the reply to the call `to` with an error."""
    return Message(
        Kind.ERROR,
        error_name=name,
        reply_serial=to.serial,
        destination=to.sender,
        signature="s",
        body=[text],
    )


def signal(
    path: str,
    interface: str,
    member: str,
    signature: str,
    body: list[Value],
    destination: str = "",
) -> Message:
    """Return a signal to all subscribers, or to the connection `destination` alone."""
    return Message(
        Kind.SIGNAL,
        path,
        interface,
        member,
        destination=destination,
        signature=signature,
        body=body,
    )
