"""From the bytes of a message to plain values: a struct is a list, a variant is its content.

As in wire.encoding, what a signature means is worked out once. The bus daemon has checked every
message that reaches us; what is wrong all the same raises, whatever, and the message is left out.

The daemon lets 32 MiB pass, which may be millions of values: those of calls and signals, which come
from anybody, are counted, for nothing else is done while a message is decoded. The header can be
decoded alone, to decide whether the body is wanted.
"""

from collections.abc import Callable
from functools import lru_cache
from math import inf
from struct import Struct
from typing import Final

from dbus_next.signature import SignatureTree, SignatureType

from wire.message import Kind, Message
from wire.types import Value

Decode = Callable[[bytes, int], tuple[Value, int]]
"""A function that returns the value at a place of a message, and the place after the value."""

MAX_VALUES: Final = 10_000
"""The most values in the arrays and structs of a call or a signal. The largest call of the hive has
a thousand ids."""

_FIELDS: Final = {
    1: "path",
    2: "interface",
    3: "member",
    4: "error_name",
    5: "reply_serial",
    6: "destination",
    7: "sender",
    8: "signature",
}
_NO_REPLY: Final = 1
_LITTLE: Final = ord("l")
_HEADER: Final = {"<": Struct("<II"), ">": Struct(">II")}
_NUMBERS: Final = {
    "y": "B",
    "n": "h",
    "q": "H",
    "i": "i",
    "u": "I",
    "x": "q",
    "t": "Q",
    "d": "d",
    "h": "I",
}


class TooManyValuesError(Exception):
    """A call or signal has more than MAX_VALUES values; `message` has the header only."""

    def __init__(self, message: Message) -> None:
        super().__init__(f"it has more than {MAX_VALUES} values")
        self.message = message


class _SpentError(Exception):
    """The budget of values is spent."""


class _Budget:
    """The number of values that the present message may still have."""

    left: float = 0

    def spend(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise _SpentError


_budget: Final = _Budget()
"""One budget is enough: a message is decoded in one go, by the thread of the loop."""


def decode(frame: bytes) -> Message:
    """Return the message in `frame`.

    Raises:
        TooManyValuesError: the frame is a call or a signal with too many values.
        Exception: the frame is not a valid message.
    """
    message, at = decode_header(frame)
    decode_body(message, frame, at)
    return message


def decode_header(frame: bytes) -> tuple[Message, int]:
    """Return a message without its body, and the place of the body.

    Args:
        frame: the message, or the beginning of one with the whole header.

    Raises:
        Exception: the frame is not a valid message.
    """
    order = "<" if frame[0] == _LITTLE else ">"
    serial, length = _HEADER[order].unpack_from(frame, 8)
    message = Message(Kind(frame[1]), serial=serial, no_reply=bool(frame[2] & _NO_REPLY))
    decode_field = _variant_decoder(order)
    _budget.left = MAX_VALUES
    at, end = 16, 16 + length
    while at < end:
        at += -at % 8
        code = frame[at]
        value, at = decode_field(frame, at + 1)
        if code in _FIELDS:
            setattr(message, _FIELDS[code], value)
    return message, at + -at % 8


def decode_body(message: Message, frame: bytes, at: int) -> None:
    """Put the body, which is at the place `at` of the whole `frame`, into its message.

    Raises:
        TooManyValuesError: the message is a call or a signal with too many values.
        Exception: the frame is not a valid message.
    """
    order = "<" if frame[0] == _LITTLE else ">"
    message.size = len(frame)
    # An answer was asked for, so its size is trusted.
    _budget.left = inf if message.kind in (Kind.RETURN, Kind.ERROR) else MAX_VALUES
    try:
        for decode_value in _decoders(message.signature, order):
            value, at = decode_value(frame, at)
            message.body.append(value)
    except _SpentError:
        message.body.clear()
        raise TooManyValuesError(message) from None
    if at != len(frame):
        raise ValueError("the size of the body is not the size in the header")


@lru_cache(1024)
def _decoders(signature: str, order: str) -> tuple[Decode, ...]:
    """Return the decoder of each complete type of `signature` in the byte order `order`."""
    return tuple(_decoder(kind, order) for kind in SignatureTree._get(signature).types)


def _decoder(kind: SignatureType, order: str) -> Decode:
    if kind.token in _NUMBERS:
        return _number_decoder(kind.token, order)
    match kind.token:
        case "s" | "o":
            return _text_decoder(order)
        case "g":
            return _decode_signature
        case "b":
            return _boolean_decoder(order)
        case "v":
            return _variant_decoder(order)
        case "(":
            return _struct_decoder(kind, order)
        case "a" if kind.children[0].token == "y":
            return _bytes_decoder(order)
        case "a" if kind.children[0].token == "{":
            return _dict_decoder(kind.children[0], order)
    return _array_decoder(kind.children[0], order)


def _number_decoder(token: str, order: str) -> Decode:
    number = Struct(order + _NUMBERS[token])
    size, unpack = number.size, number.unpack_from

    def decode_number(data: bytes, at: int) -> tuple[Value, int]:
        at += -at % size
        return unpack(data, at)[0], at + size

    return decode_number


def _boolean_decoder(order: str) -> Decode:
    decode_number = _number_decoder("u", order)

    def decode_boolean(data: bytes, at: int) -> tuple[Value, int]:
        value, at = decode_number(data, at)
        return bool(value), at

    return decode_boolean


def _text_decoder(order: str) -> Decode:
    unpack = Struct(order + "I").unpack_from

    def decode_text(data: bytes, at: int) -> tuple[Value, int]:
        at += -at % 4 + 4
        end = at + unpack(data, at - 4)[0]
        return data[at:end].decode(), end + 1

    return decode_text


def _decode_signature(data: bytes, at: int) -> tuple[Value, int]:
    end = at + 1 + data[at]
    return data[at + 1 : end].decode(), end + 1


@lru_cache(2)
def _variant_decoder(order: str) -> Decode:
    def decode_variant(data: bytes, at: int) -> tuple[Value, int]:
        signature, at = _decode_signature(data, at)
        [decode_value] = _decoders(signature, order)
        return decode_value(data, at)

    return decode_variant


def _bytes_decoder(order: str) -> Decode:
    unpack = Struct(order + "I").unpack_from

    def decode_bytes(data: bytes, at: int) -> tuple[Value, int]:
        at += -at % 4 + 4
        end = at + unpack(data, at - 4)[0]
        return data[at:end], end

    return decode_bytes


def _array_decoder(child: SignatureType, order: str) -> Decode:
    unpack = Struct(order + "I").unpack_from
    decode_item = _decoder(child, order)
    alignment = 8 if child.token in "xtd(" else 1
    spend = _budget.spend

    def decode_array(data: bytes, at: int) -> tuple[Value, int]:
        at += -at % 4 + 4
        length = unpack(data, at - 4)[0]
        at += -at % alignment
        end = at + length
        items = []
        while at < end:
            spend(1)
            item, at = decode_item(data, at)
            items.append(item)
        return items, at

    return decode_array


def _dict_decoder(entry: SignatureType, order: str) -> Decode:
    unpack = Struct(order + "I").unpack_from
    decode_key, decode_value = (_decoder(child, order) for child in entry.children)
    spend = _budget.spend

    def decode_dict(data: bytes, at: int) -> tuple[Value, int]:
        at += -at % 4 + 4
        length = unpack(data, at - 4)[0]
        at += -at % 8
        end = at + length
        items = {}
        while at < end:
            spend(1)
            at += -at % 8
            key, at = decode_key(data, at)
            items[key], at = decode_value(data, at)
        return items, at

    return decode_dict


def _struct_decoder(kind: SignatureType, order: str) -> Decode:
    decoders = [_decoder(child, order) for child in kind.children]
    spend = _budget.spend

    def decode_struct(data: bytes, at: int) -> tuple[Value, int]:
        at += -at % 8
        spend(len(decoders))
        items = []
        for decode_item in decoders:
            item, at = decode_item(data, at)
            items.append(item)
        return items, at

    return decode_struct
