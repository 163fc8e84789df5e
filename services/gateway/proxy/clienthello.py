"""The server name in the first message of TLS, which is read but never answered here.

The message may come in any number of records and segments. A server understands a message that
breaks a rule in its own way, so such a message is refused.
"""

import struct
from typing import Final

HANDSHAKE: Final = 22
"""The first byte of a connection of TLS."""
MAX_HELLO: Final = 64 * 1024
"""Bytes of the records of a first message; the longest ones have a few KiB."""
ALERT: Final = bytes((21, 3, 3, 0, 2, 2, 112))
"""The alert unrecognized_name, by which a client of TLS shows why it failed."""

_RECORD: Final = struct.Struct(">BBBH")
_MAX_RECORD: Final = 16384
_CLIENT_HELLO: Final = 1
_SERVER_NAME: Final = 0
_HOST_NAME: Final = 0


class HelloError(Exception):
    """The first message is not one that is let through; the text is the reason."""


class _Incomplete(Exception):  # noqa: N818 - an event, not a fault
    """More bytes are needed."""


def server_name(data: bytes) -> str | None:
    """Return the server name of the message at the beginning of `data`; "" without one.

    Returns:
        None while the message is not complete.

    Raises:
        HelloError: it is not the first message of a client.
    """
    try:
        hello = _message(data)
    except _Incomplete:
        if len(data) > MAX_HELLO:
            raise HelloError("its first message is too long") from None
        return None
    return _name(_Fields(hello))


def _message(data: bytes) -> bytes:
    """Return the first handshake message, joined from its records."""
    message, declared, at = bytearray(), 0, 0
    while len(message) < 4 or len(message) < _length(message):
        head = data[at : at + _RECORD.size]
        if head and head[0] != HANDSHAKE:
            raise HelloError("its first message is not one of TLS")
        if len(head) < _RECORD.size:
            raise _Incomplete
        _kind, major, _minor, length = _RECORD.unpack(head)
        if major != 3 or not 0 < length <= _MAX_RECORD:
            raise HelloError("its first message is not one of TLS")
        message += data[at + _RECORD.size : at + _RECORD.size + length]
        if message and message[0] != _CLIENT_HELLO:
            raise HelloError("its first message is not that of a client")
        declared += length
        at += _RECORD.size + length
    if declared != _length(message):
        raise HelloError("its first message is followed by another one in the same record")
    return bytes(message[4:])


def _length(message: bytearray) -> int:
    """Return the length of a message, with its head of four bytes."""
    return 4 + int.from_bytes(message[1:4], "big")


class _Fields:
    """A reader of fields with their lengths."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def take(self, length: int) -> bytes:
        """Return the next `length` bytes."""
        taken = self._data[self._at : self._at + length]
        if len(taken) < length:
            raise HelloError("its first message is cut short")
        self._at += length
        return taken

    def number(self, length: int) -> int:
        """Return the number in the next `length` bytes."""
        return int.from_bytes(self.take(length), "big")

    def vector(self, length: int) -> bytes:
        """Return the next field, whose length comes before it, in `length` bytes."""
        return self.take(self.number(length))


def _name(hello: _Fields) -> str:
    hello.take(2 + 32)  # the version and the random number
    hello.vector(1)  # the session
    hello.vector(2)  # the ciphers
    hello.vector(1)  # the compressions
    extensions = _Fields(hello.vector(2) if hello else b"")
    if hello:
        raise HelloError("its first message is longer than it says")
    names = []
    while extensions:
        kind, content = extensions.number(2), extensions.vector(2)
        if kind == _SERVER_NAME:
            names.append(content)
    if len(names) > 1:
        raise HelloError("its first message has two server names")
    return _host(_Fields(names[0])) if names else ""


def _host(extension: _Fields) -> str:
    entries = _Fields(extension.vector(2))
    kind, name = entries.number(1), entries.vector(2)
    if entries or extension or kind != _HOST_NAME:
        raise HelloError("its first message has two server names")
    try:
        return name.decode("ascii").lower().removesuffix(".")
    except UnicodeDecodeError:
        raise HelloError("its server name is not ASCII") from None
