"""Annotated types: Python for mypy, a D-Bus signature for the wire, and plain values on both sides.

    class Broker1(Interface, name=names.BROKER):
        @method(allow=AGENTS | OPERATOR)
        async def Send(self, to: Str, body: Str, options: Dict) -> UInt64: ...

A method with several results answers a list: `-> Annotated[list[Any], Signature("su")]`.

What travels as a variant is a plain Python value everywhere outside `wire`. On the way out its
type is chosen by `str -> s, bool -> b, int -> x, float -> d, bytes -> ay, list[str] -> as,
list[int] -> ax, list[float] -> ad, list[bool] -> ab, list[dict] -> aa{sv}, dict -> a{sv}`, an empty
list is `as`; where the other end insists on another type, say so: `U32(3)`, `U64(3)`, `I32(-1)`,
`Path("/a")`, or any signature at all with `Typed("a(sasb)", value)`. Tuples are taken for lists.
"""

from collections.abc import Callable
from typing import Annotated, Any, Final, NamedTuple, TypeAlias

from dbus_next import Variant
from dbus_next.signature import SignatureTree, SignatureType

from wire.errors import InvalidArgument


class Signature(NamedTuple):
    """The D-Bus signature of an annotated type."""

    signature: str


Str: TypeAlias = Annotated[str, Signature("s")]
Bool: TypeAlias = Annotated[bool, Signature("b")]
Int32: TypeAlias = Annotated[int, Signature("i")]
UInt32: TypeAlias = Annotated[int, Signature("u")]
Int64: TypeAlias = Annotated[int, Signature("x")]
UInt64: TypeAlias = Annotated[int, Signature("t")]
Double: TypeAlias = Annotated[float, Signature("d")]
ObjectPath: TypeAlias = Annotated[str, Signature("o")]
Dict: TypeAlias = Annotated[dict[str, Any], Signature("a{sv}")]
StrList: TypeAlias = Annotated[list[str], Signature("as")]
UInt64List: TypeAlias = Annotated[list[int], Signature("at")]
PathList: TypeAlias = Annotated[list[str], Signature("ao")]
DictList: TypeAlias = Annotated[list[dict[str, Any]], Signature("aa{sv}")]
Messages: TypeAlias = Annotated[list[list[Any]], Signature("a(tssssxubtssb)")]
"""Messages of the broker; the fields are named in org.hyperhive.Broker1.xml."""
Questions: TypeAlias = Annotated[list[list[Any]], Signature("a(tsssasbxxsassx)")]
"""Questions of the broker, named there as well."""
Reminders: TypeAlias = Annotated[list[list[Any]], Signature("a(tsxssxst)")]
"""Reminders of the broker, named there as well."""


class Typed(NamedTuple):
    """A value that must travel as a variant of exactly this signature."""

    signature: str
    value: Any


def U32(value: int) -> Typed:
    """`value` as a variant of type u, 0 to 2**32-1."""
    return Typed("u", value)


def U64(value: int) -> Typed:
    """`value` as a variant of type t, 0 to 2**64-1."""
    return Typed("t", value)


def I32(value: int) -> Typed:
    """`value` as a variant of type i, -2**31 to 2**31-1."""
    return Typed("i", value)


def Path(value: str) -> Typed:
    """`value` as a variant of type o."""
    return Typed("o", value)


MAX_DEPTH: Final = 16
"""How deep plain values may nest: the bus daemon cuts off whoever sends more than 32 arrays."""

_SCALARS: Final[dict[type, str]] = {str: "s", bool: "b", int: "x", float: "d", bytes: "ay"}
_PLAIN_TOKENS: Final = frozenset("ybnqiuxtdhg")


def complete_types(signature: str) -> int:
    """How many complete types `signature` consists of."""
    return len(SignatureTree._get(signature).types)


def pack(signature: str, values: list[Any]) -> list[Any]:
    """Plain `values` as the body of a message of `signature`.

    Raises InvalidArgument for what cannot travel: a NUL character, a lone surrogate, nesting
    deeper than MAX_DEPTH, a value of no D-Bus type. The bus daemon would answer the first three by
    cutting the connection.
    """
    types = SignatureTree._get(signature).types
    if len(types) != len(values):
        raise InvalidArgument(f'"{signature}" takes {len(types)} values, {len(values)} were given.')
    return [_pack(kind, value, 0) for kind, value in zip(types, values, strict=True)]


def _pack(kind: SignatureType, value: Any, depth: int) -> Any:
    if kind.token in _PLAIN_TOKENS:
        return value
    if depth > MAX_DEPTH:
        raise InvalidArgument(f"The value is nested more than {MAX_DEPTH} levels deep.")
    return _PACKERS[kind.token](kind, value, depth + 1)


def _pack_text(kind: SignatureType, value: Any, depth: int) -> Any:
    if isinstance(value, str):
        check_text(value)
    return value


def _pack_variant(kind: SignatureType, value: Any, depth: int) -> Any:
    if isinstance(value, Variant):
        return value
    signature, value = value if isinstance(value, Typed) else (_signature_of(value), value)
    inner = SignatureTree._get(signature).types[0]
    return Variant(signature, _pack(inner, value, depth))


def _pack_array(kind: SignatureType, value: Any, depth: int) -> Any:
    child = kind.children[0]
    if child.token == "{":  # noqa: S105 - a token of a signature
        if not isinstance(value, dict):
            return value  # dbus-next says what is wrong with it
        key_kind, value_kind = child.children
        return {
            _pack(key_kind, key, depth): _pack(value_kind, item, depth)
            for key, item in value.items()
        }
    if child.token in _PLAIN_TOKENS or not isinstance(value, list | tuple):
        return list(value) if isinstance(value, tuple) else value
    return [_pack(child, item, depth) for item in value]


def _pack_struct(kind: SignatureType, value: Any, depth: int) -> Any:
    if not isinstance(value, list | tuple) or len(value) != len(kind.children):
        return value
    return [_pack(child, item, depth) for child, item in zip(kind.children, value, strict=True)]


_PACKERS: Final[dict[str, Callable[[SignatureType, Any, int], Any]]] = {
    "s": _pack_text,
    "o": _pack_text,
    "v": _pack_variant,
    "a": _pack_array,
    "(": _pack_struct,
}


def check_text(text: str) -> None:
    """Raise InvalidArgument when `text` cannot travel over the bus."""
    if "\0" in text:
        raise InvalidArgument("Text must not contain NUL characters.")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InvalidArgument("Text must be valid Unicode (no lone surrogates).") from error


def _signature_of(value: Any) -> str:
    if isinstance(value, dict):
        return "a{sv}"
    if isinstance(value, list | tuple):
        return "a" + (_signature_of(value[0]) if value else "s")
    if isinstance(value, int) and not isinstance(value, bool) and value >= 2**63:
        return "t"  # an id that does not fit into a signed number
    for python, signature in _SCALARS.items():
        if isinstance(value, python):
            return signature
    raise InvalidArgument(f"A value of type {type(value).__name__} cannot travel over the bus.")


def unpack(body: list[Any]) -> list[Any]:
    """The plain values of a received body: every variant is replaced by what is in it."""
    return [_unpack(value) for value in body]


def _unpack(value: Any) -> Any:
    if isinstance(value, Variant):
        return _unpack(value.value)
    if isinstance(value, list):
        return [_unpack(item) for item in value]
    if isinstance(value, dict):
        return {key: _unpack(item) for key, item in value.items()}
    return value
