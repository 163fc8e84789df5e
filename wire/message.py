"""A message on the bus: its header, and its body as plain values."""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any


class Kind(IntEnum):
    """The types of messages, with their numbers in the header."""

    CALL = 1
    RETURN = 2
    ERROR = 3
    SIGNAL = 4


@dataclass(slots=True, eq=False)
class Message:
    """A message. What is empty or 0 is not in its header; `serial` is given when it is sent."""

    kind: Kind
    path: str = ""
    interface: str = ""
    member: str = ""
    error_name: str = ""
    reply_serial: int = 0
    destination: str = ""
    sender: str = ""
    signature: str = ""
    body: list[Any] = field(default_factory=list)
    serial: int = 0
    no_reply: bool = False
    """Whether the sender of a call wants no answer."""
    size: int = 0
    """Of one that was received: its bytes on the bus."""


def call(
    destination: str, path: str, interface: str, member: str, signature: str, body: list[Any]
) -> Message:
    """A call of a method."""
    return Message(
        Kind.CALL,
        path,
        interface,
        member,
        destination=destination,
        signature=signature,
        body=body,
    )


def answer(to: Message, signature: str, body: list[Any]) -> Message:
    """The results of the call `to`."""
    return Message(
        Kind.RETURN,
        reply_serial=to.serial,
        destination=to.sender,
        signature=signature,
        body=body,
    )


def refusal(to: Message, name: str, text: str) -> Message:
    """The error that the call `to` ends with."""
    return Message(
        Kind.ERROR,
        error_name=name,
        reply_serial=to.serial,
        destination=to.sender,
        signature="s",
        body=[text],
    )


def signal(path: str, interface: str, member: str, signature: str, body: list[Any]) -> Message:
    """A signal, to whoever listens."""
    return Message(Kind.SIGNAL, path, interface, member, signature=signature, body=body)
