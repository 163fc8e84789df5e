"""Annotated types: Python for mypy, a D-Bus signature for the wire, and plain values on both sides.

    class Broker1(Interface, name=names.BROKER):
        @method(allow=AGENTS | OPERATOR)
        async def Send(self, to: Str, body: Str, options: Dict) -> UInt64: ...

A method with several results answers a list: `-> Annotated[list[Any], Signature("su")]`.

A variant is a plain Python value everywhere outside of `wire`. The encoder chooses its type by
`str -> s, bool -> b, int -> x, float -> d, bytes -> ay, list[str] -> as,
list[int] -> ax, list[float] -> ad, list[bool] -> ab, list[dict] -> aa{sv}, dict -> a{sv}`, an empty
list is `as`; where the other end expects another type, name it: `U32(3)`, `U64(3)`, `Path("/a")`,
or any signature at all with `Typed("a(sasb)", value)`. A tuple is encoded as a list is.
"""

from typing import Annotated, Any, NamedTuple, TypeAlias

from dbus_next.signature import SignatureTree

Value: TypeAlias = Any
"""A plain value of the bus. Its D-Bus signature says which type it has; Python cannot."""


class Signature(NamedTuple):
    """The D-Bus signature of an annotated type."""

    signature: str


Str: TypeAlias = Annotated[str, Signature("s")]
Bool: TypeAlias = Annotated[bool, Signature("b")]
Int32: TypeAlias = Annotated[int, Signature("i")]
UInt16: TypeAlias = Annotated[int, Signature("q")]
UInt32: TypeAlias = Annotated[int, Signature("u")]
Int64: TypeAlias = Annotated[int, Signature("x")]
UInt64: TypeAlias = Annotated[int, Signature("t")]
ObjectPath: TypeAlias = Annotated[str, Signature("o")]
Bytes: TypeAlias = Annotated[bytes, Signature("ay")]
Variant: TypeAlias = Annotated[Value, Signature("v")]
Dict: TypeAlias = Annotated[dict[str, Value], Signature("a{sv}")]
StrList: TypeAlias = Annotated[list[str], Signature("as")]
UInt64List: TypeAlias = Annotated[list[int], Signature("at")]
Counts: TypeAlias = Annotated[dict[str, int], Signature("a{st}")]
ManagedDict: TypeAlias = Annotated[
    dict[str, dict[str, dict[str, Value]]], Signature("a{oa{sa{sv}}}")
]


class Typed(NamedTuple):
    """A value for a variant of exactly this signature."""

    signature: str
    value: Value


def U32(value: int) -> Typed:
    """Return `value` as a variant of type u, 0 to 2**32-1."""
    return Typed("u", value)


def U64(value: int) -> Typed:
    """Return `value` as a variant of type t, 0 to 2**64-1."""
    return Typed("t", value)


def Path(value: str) -> Typed:
    """Return `value` as a variant of type o."""
    return Typed("o", value)


def complete_types(signature: str) -> int:
    """Return the number of complete types in `signature`."""
    return len(SignatureTree._get(signature).types)
