"""From plain values to the bytes of a message.

Each signature becomes a chain of functions once, which is then kept. dbus-next interprets the
signature for each value of each message, which took most of an endpoint's time. dbus-next also
wants each variant as an object of its own; here the plain value becomes bytes in one step.
docs/decisions/0007-own-marshalling.md has the figures.
"""

from collections.abc import Callable
from functools import lru_cache
from struct import Struct, error
from typing import Final

from dbus_next import validators
from dbus_next.errors import InvalidSignatureError
from dbus_next.signature import SignatureTree, SignatureType

from wire.message import Kind, Message
from wire.records import codec
from wire.types import Typed, Value

MAX_DEPTH: Final = 16
"""The deepest nesting of plain values: the bus daemon disconnects a sender of over 32 arrays."""

Encode = Callable[[bytearray, Value, int], None]
"""A function that appends a value to a body; the number is the depth of its nesting."""

_LENGTH: Final = Struct("<I")
_HEADER: Final = Struct("<BBBBIII")
_NO_REPLY: Final = 1
_VERSION: Final = 1


class MisfitError(ValueError):
    """A value or a name that cannot be encoded; the sentence says why."""


def encode(message: Message) -> bytes:
    """Return the bytes of `message`.

    Raises:
        MisfitError: a value is not of its type, a text has a NUL character or a lone surrogate, the
            nesting is deeper than MAX_DEPTH, or a name is not valid. The bus daemon would
            disconnect the sender of most of these.
    """
    body = encode_body(message.signature, message.body)
    fields = _fields(message)
    header = b"".join(fields)
    # The padding after the last field belongs to the header, but not to the array of fields.
    length = len(header) - _unused(fields[-1])
    flags = _NO_REPLY if message.no_reply else 0
    start = _HEADER.pack(ord("l"), message.kind, flags, _VERSION, len(body), message.serial, length)
    return start + header + body


def encode_body(signature: str, values: list[Value]) -> bytes:
    """Return `values` as a body of `signature`; raise MisfitError, see `encode`."""
    encoders = _encoders(signature)
    if len(encoders) != len(values):
        raise MisfitError(f'"{signature}" takes {len(encoders)} values, not {len(values)}')
    out = bytearray()
    for encode_value, value in zip(encoders, values, strict=True):
        encode_value(out, value, 0)
    return bytes(out)


def check(signature: str, value: Value) -> None:
    """Raise MisfitError when `value` cannot be encoded as `signature`, one complete type."""
    encode_body(signature, [value])


# The header


def _fields(message: Message) -> list[bytes]:
    """Return the fields of the header, each padded to the beginning of the next one."""
    texts = (
        (1, message.path),
        (2, message.interface),
        (3, message.member),
        (4, message.error_name),
        (6, message.destination),
    )
    fields = [_name_field(code, text) for code, text in texts if text]
    if message.signature:
        fields.append(_signature_field(message.signature))
    if message.reply_serial:
        fields.append(b"\x05\x01u\0" + _LENGTH.pack(message.reply_serial))
    if missing := [name for name in _REQUIRED[message.kind] if not getattr(message, name)]:
        raise MisfitError(f"a message of this kind needs a {missing[0]}")
    return fields


_REQUIRED: Final = {
    Kind.CALL: ("destination", "path", "member"),
    Kind.RETURN: ("reply_serial",),
    Kind.ERROR: ("error_name", "reply_serial"),
    Kind.SIGNAL: ("path", "interface", "member"),
}
_NAME_RULES: Final[dict[int, tuple[str, Callable[[str], bool], str]]] = {
    1: ("o", validators.is_object_path_valid, "object path"),
    2: ("s", validators.is_interface_name_valid, "interface name"),
    3: ("s", validators.is_member_name_valid, "member name"),
    4: ("s", validators.is_interface_name_valid, "error name"),
    6: ("s", validators.is_bus_name_valid, "bus name"),
}


@lru_cache(1024)
def _name_field(code: int, text: str) -> bytes:
    """Return one field with a name; the same few names are used again and again."""
    token, is_valid, what = _NAME_RULES[code]
    if not is_valid(text):
        raise MisfitError(f"{text[:64]!r} is not a valid {what}")
    data = text.encode()
    return _padded(b"%c\x01%b\0%b%b\0" % (code, token.encode(), _LENGTH.pack(len(data)), data))


@lru_cache(1024)
def _signature_field(signature: str) -> bytes:
    return _padded(b"\x08\x01g\0%c%b\0" % (len(signature), signature.encode()))


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)


def _unused(field: bytes) -> int:
    """Return the bytes of padding at the end of a field."""
    if field.startswith(b"\x05"):
        return 0
    if field.startswith(b"\x08"):
        return len(field) - (4 + 1 + field[4] + 1)
    [size] = _LENGTH.unpack_from(field, 4)
    return len(field) - (8 + int(size) + 1)


# Values


@lru_cache(1024)
def _encoders(signature: str) -> tuple[Encode, ...]:
    """Return the encoder of each complete type of `signature`."""
    if len(signature) > 255:
        raise MisfitError("a signature has at most 255 characters")
    try:
        return tuple(_encoder(kind) for kind in SignatureTree._get(signature).types)
    except (InvalidSignatureError, IndexError) as wrong:
        raise MisfitError(f"{signature!r} is not a valid signature") from wrong


def _encoder(kind: SignatureType) -> Encode:
    if kind.token in _NUMBERS:
        return _number_encoder(kind.token)
    if kind.token in _SIMPLE:
        return _SIMPLE[kind.token]
    match kind.token:
        case "(":
            return _struct_encoder(kind)
        case "a" if kind.children[0].token == "y":
            return _encode_bytes
        case "a" if kind.children[0].token == "{":
            return _dict_encoder(kind.children[0])
        case "a":
            return _array_encoder(kind.children[0])
    raise MisfitError(f"values of type {kind.token} are not sent")


_NUMBERS: Final = {
    "y": "B",
    "n": "h",
    "q": "H",
    "i": "i",
    "u": "I",
    "x": "q",
    "t": "Q",
    "d": "d",
}
"""The number types, and their formats in the module `struct`."""


def _number_encoder(token: str) -> Encode:
    number = Struct("<" + _NUMBERS[token])
    size, pack = number.size, number.pack
    python = (int, float) if token == "d" else int

    def encode_number(out: bytearray, value: Value, depth: int) -> None:
        if not isinstance(value, python):
            raise _misfit(token, value)
        out += bytes(-len(out) % size)
        try:
            out += pack(value)
        except error:
            raise MisfitError(f"{value} is out of the bounds of type {token}") from None

    return encode_number


def _encode_boolean(out: bytearray, value: Value, depth: int) -> None:
    if not isinstance(value, bool):
        raise _misfit("b", value)
    out += bytes(-len(out) % 4)
    out += b"\1\0\0\0" if value else b"\0\0\0\0"


def _encode_text(out: bytearray, value: Value, depth: int) -> None:
    if not isinstance(value, str):
        raise _misfit("s", value)
    try:
        data = value.encode()
    except UnicodeEncodeError as wrong:
        raise MisfitError("Text must be valid Unicode (no lone surrogates)") from wrong
    if b"\0" in data:
        raise MisfitError("Text must not contain NUL characters")
    out += bytes(-len(out) % 4)
    out += _LENGTH.pack(len(data))
    out += data
    out.append(0)


def _encode_path(out: bytearray, value: Value, depth: int) -> None:
    if not isinstance(value, str) or not validators.is_object_path_valid(value):
        raise MisfitError(f"{str(value)[:64]!r} is not a valid object path")
    _encode_text(out, value, depth)


def _encode_signature(out: bytearray, value: Value, depth: int) -> None:
    if not isinstance(value, str):
        raise _misfit("g", value)
    _encoders(value)
    out.append(len(value))
    out += value.encode()
    out.append(0)


def _encode_bytes(out: bytearray, value: Value, depth: int) -> None:
    if not isinstance(value, bytes | bytearray):
        raise _misfit("ay", value)
    out += bytes(-len(out) % 4)
    out += _LENGTH.pack(len(value))
    out += value


def _encode_variant(out: bytearray, value: Value, depth: int) -> None:
    _check_depth(depth)
    signature, inner = value if isinstance(value, Typed) else (_signature_of(value), value)
    encoders = _encoders(signature)
    if len(encoders) != 1:
        raise MisfitError(f"a variant holds one value, not {signature!r}")
    _encode_signature(out, signature, depth)
    encoders[0](out, inner, depth + 1)


_SIMPLE: Final[dict[str, Encode]] = {
    "s": _encode_text,
    "b": _encode_boolean,
    "o": _encode_path,
    "g": _encode_signature,
    "v": _encode_variant,
}


def _array_encoder(child: SignatureType) -> Encode:
    encode_item = _encoder(child)
    alignment = _alignment(child)

    def encode_array(out: bytearray, value: Value, depth: int) -> None:
        _check_depth(depth)
        if not isinstance(value, list | tuple):
            raise _misfit(f"a{child.signature}", value)
        place, start = _begin_array(out, alignment)
        for item in value:
            encode_item(out, item, depth + 1)
        _end_array(out, place, start)

    return encode_array


def _dict_encoder(entry: SignatureType) -> Encode:
    encode_key, encode_value = map(_encoder, entry.children)

    def encode_dict(out: bytearray, value: Value, depth: int) -> None:
        _check_depth(depth)
        items = codec.to_dict(value) if codec.is_dictionary(type(value)) else value
        if not isinstance(items, dict):
            raise _misfit(f"a{entry.signature}", value)
        place, start = _begin_array(out, 8)
        for key, item in items.items():
            out += bytes(-len(out) % 8)
            encode_key(out, key, depth + 1)
            encode_value(out, item, depth + 1)
        _end_array(out, place, start)

    return encode_dict


def _struct_encoder(kind: SignatureType) -> Encode:
    encoders = [_encoder(child) for child in kind.children]

    def encode_struct(out: bytearray, value: Value, depth: int) -> None:
        _check_depth(depth)
        if not isinstance(value, list | tuple) or codec.is_dictionary(type(value)):
            raise _misfit(kind.signature, value)
        if len(value) != len(encoders):
            raise MisfitError(f"{kind.signature} takes {len(encoders)} values, not {len(value)}")
        out += bytes(-len(out) % 8)
        for encode_item, item in zip(encoders, value, strict=True):
            encode_item(out, item, depth + 1)

    return encode_struct


def _begin_array(out: bytearray, alignment: int) -> tuple[int, int]:
    """Leave room for the length; return the place of the length and that of the first item."""
    out += bytes(-len(out) % 4)
    place = len(out)
    out += bytes(4)
    out += bytes(-len(out) % alignment)
    return place, len(out)


def _end_array(out: bytearray, place: int, start: int) -> None:
    _LENGTH.pack_into(out, place, len(out) - start)


def _alignment(kind: SignatureType) -> int:
    """Return the alignment of a type in bytes."""
    if kind.token in _NUMBERS:
        return Struct(_NUMBERS[kind.token]).size
    return {"v": 1, "g": 1, "(": 8}.get(kind.token, 4)


def _check_depth(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise MisfitError(f"The value is nested more than {MAX_DEPTH} levels deep")


_SCALARS: Final[dict[type, str]] = {str: "s", bool: "b", int: "x", float: "d", bytes: "ay"}


def _signature_of(value: Value) -> str:
    """Return the type of a plain value in a variant; see wire.types."""
    if isinstance(value, dict):
        return "a{sv}"
    kind = type(value)
    if codec.is_record(kind):
        return codec.signature(kind)
    if isinstance(value, list | tuple):
        return "a" + (_signature_of(value[0]) if value else "s")
    if isinstance(value, int) and not isinstance(value, bool) and value >= 2**63:
        return "t"  # an id that does not fit into a signed number
    for python, signature in _SCALARS.items():
        if isinstance(value, python):
            return signature
    raise MisfitError(f"a value of type {type(value).__name__} cannot be encoded")


def _misfit(signature: str, value: Value) -> MisfitError:
    return MisfitError(f"{signature} does not take a value of type {type(value).__name__}")
