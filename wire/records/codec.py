"""The rules by which a record becomes values of the bus, and values of the bus a record.

    @struct
    class Tombstone(NamedTuple):
        name: Str
        size: UInt64

    @dictionary
    class SendOptions(NamedTuple):
        urgent: Bool = False
        in_reply_to: UInt64 | None = None

The annotations are those of wire.types. An enumeration of texts, another record and a list of
records are annotations, too. A struct has all of its fields, in their order. A dictionary leaves
out the fields that have their default value; its keys are the names of the fields, unless the
decorator names others.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import lru_cache, partial
from types import NoneType, UnionType
from typing import (
    Annotated,
    Final,
    NamedTuple,
    TypeAlias,
    TypeGuard,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from wire.errors import Conflict
from wire.types import Signature, Typed, Value

_RECORD: Final = "_wire_record"
_DICTIONARY: Final = "a{sv}"

Record: TypeAlias = tuple[Value, ...]
"""A record of any class."""
R = TypeVar("R", bound=Record)
C = TypeVar("C", bound=type[Record])

Convert = Callable[[Value], Value]
"""From a value of the bus to the value of a field."""


class _Shape(NamedTuple):
    """The decorator's part of a record."""

    is_struct: bool
    key: Callable[[str], str]


class _Field(NamedTuple):
    """One field of a record on the bus."""

    name: str
    key: str
    signatures: tuple[str, ...]
    """Of a dictionary's field with several types: one for each."""
    convert: Convert | None


def struct(cls: C) -> C:
    """Mark a named tuple as a D-Bus struct."""
    setattr(cls, _RECORD, _Shape(is_struct=True, key=str))
    return cls


def dictionary(
    *, keys: Mapping[str, str] | None = None, properties: bool = False
) -> Callable[[C], C]:
    """Mark a named tuple as an a{sv}.

    Args:
        keys: the keys of the fields that are called otherwise on the bus, such as `from`.
        properties: whether the keys are names of D-Bus properties: `turn_state` is `TurnState`.
    """
    named = keys or {}

    def key(name: str) -> str:
        return named.get(name) or (_pascal_case(name) if properties else name)

    def mark(cls: C) -> C:
        setattr(cls, _RECORD, _Shape(is_struct=False, key=key))
        return cls

    return mark


def is_record(hint: object) -> TypeGuard[type[Record]]:
    """Return whether `hint` is the class of a record."""
    return isinstance(hint, type) and hasattr(hint, _RECORD)


def is_dictionary(hint: object) -> TypeGuard[type[Record]]:
    """Return whether `hint` is the class of a record that travels as an a{sv}."""
    return is_record(hint) and not _shape(hint).is_struct


@lru_cache(128)
def signature(cls: type[Record]) -> str:
    """Return the D-Bus signature of a record, derived from the annotations of its fields."""
    if not _shape(cls).is_struct:
        return _DICTIONARY
    return f"({''.join(field.signatures[0] for field in _fields(cls))})"


def keys(cls: type[Record]) -> dict[str, str]:
    """Return the key on the bus of each field, in the order of the fields."""
    return {field.name: field.key for field in _fields(cls)}


def types(cls: type[Record]) -> dict[str, str]:
    """Return the signature of the value at each key of a dictionary, in their order."""
    return {field.key: "|".join(field.signatures) for field in _fields(cls)}


def to_dict(record: Record) -> dict[str, Typed]:
    """Return a dictionary record as an a{sv}, each value as a variant of its field's type."""
    cls = type(record)
    defaults = cls._field_defaults  # type: ignore[attr-defined]
    return {
        field.key: Typed(_pick(field.signatures, value), value)
        for field, value in zip(_fields(cls), record, strict=True)
        if field.name not in defaults or value != defaults[field.name]
    }


def decode(cls: type[R], values: object) -> R:
    """Return the record that `values` are: a sequence for a struct, a mapping for a dictionary.

    Keys of a dictionary that the record does not have are ignored: a newer service may send them.

    Raises:
        Conflict: a field is missing, superfluous, or has an unknown value, or `values` are not of
            this kind. The two ends of the bus are of different versions.
    """
    fields = _fields(cls)
    if _shape(cls).is_struct:
        if not isinstance(values, list | tuple):
            raise _other_version(cls, "is not a struct")
        found = list(values)
        if len(found) != len(fields):
            raise _other_version(cls, f"has {len(found)} values instead of {len(fields)}")
        for place, field in enumerate(fields):
            if field.convert is not None:
                found[place] = _converted(cls, field, found[place])
        return cls(*found)
    if not isinstance(values, Mapping):
        raise _other_version(cls, "is not a dictionary")
    named = _named(cls, values)
    for field in fields:
        if field.name not in named and field.name not in cls._field_defaults:  # type: ignore[attr-defined]
            raise _other_version(cls, f"has no {field.key}")
    return cls(**named)


def decode_all(cls: type[R], rows: object) -> list[R]:
    """Return the records in a list of structs or dictionaries; see `decode`."""
    if not isinstance(rows, list | tuple):
        raise _other_version(cls, "is not a list")
    return [decode(cls, row) for row in rows]


def updated(record: R, changed: Mapping[str, Value]) -> R:
    """Return a dictionary record with the values that `changed` has, by their keys.

    Raises:
        Conflict: a value is not one of its field's; see `decode`.
    """
    return cast(R, record._replace(**_named(type(record), changed)))  # type: ignore[attr-defined]


def signature_of(hint: object) -> str | None:
    """Return the signature of an annotation: of wire.types, an enumeration, a record, or a list."""
    signatures = _signatures(hint)
    return signatures[0] if len(signatures) == 1 else None


def converter(hint: object) -> Convert | None:
    """Return the function from a value of the bus to a field's value, or None for no change."""
    for plain in _alternatives(hint):
        if get_origin(plain) is Annotated:
            plain = get_args(plain)[0]
        if is_record(plain):
            return partial(decode, plain)
        if isinstance(plain, type) and issubclass(plain, StrEnum):
            return plain
        if get_origin(plain) in (list, tuple):
            item = converter(get_args(plain)[0])
            make = cast(type[list[Value]] | type[Record], get_origin(plain))
            if item is not None:
                return lambda values: make(item(value) for value in values)
            return None if make is list else tuple
    return None


def _shape(cls: type[Record]) -> _Shape:
    shape: _Shape = getattr(cls, _RECORD)
    return shape


@lru_cache(128)
def _fields(cls: type[Record]) -> tuple[_Field, ...]:
    key = _shape(cls).key
    hints = get_type_hints(cls, include_extras=True)
    return tuple(
        _Field(name, key(name), _checked(cls, name, hint), converter(hint))
        for name, hint in hints.items()
    )


def _checked(cls: type, name: str, hint: object) -> tuple[str, ...]:
    signatures = _signatures(hint)
    if not signatures:
        raise TypeError(f"{cls.__name__}.{name} has an annotation that is not of wire.types")
    return signatures


def _signatures(hint: object) -> tuple[str, ...]:
    return tuple(s for plain in _alternatives(hint) if (s := _signature(plain)) is not None)


def _signature(hint: object) -> str | None:
    if get_origin(hint) is Annotated:
        for extra in get_args(hint)[1:]:
            if isinstance(extra, Signature):
                return extra.signature
        return None
    if is_record(hint):
        return signature(hint)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return "s"
    if get_origin(hint) in (list, tuple):
        item = _signature(get_args(hint)[0])
        return None if item is None else f"a{item}"
    return None


def _alternatives(hint: object) -> list[object]:
    """Return the types of a union but None, else the type itself."""
    if get_origin(hint) in (Union, UnionType):
        return [one for one in get_args(hint) if one is not NoneType]
    return [hint]


def _pick(signatures: tuple[str, ...], value: object) -> str:
    if len(signatures) == 1:
        return signatures[0]
    return next(s for s in signatures if (s == "s") == isinstance(value, str))


def _named(cls: type[Record], values: Mapping[str, Value]) -> dict[str, Value]:
    return {
        field.name: _converted(cls, field, values[field.key])
        for field in _fields(cls)
        if field.key in values
    }


def _converted(cls: type, field: _Field, value: Value) -> Value:
    if field.convert is None:
        return value
    try:
        return field.convert(value)
    except (TypeError, ValueError) as error:
        raise _other_version(cls, f"has an unknown value of {field.key}") from error


def _other_version(cls: type, text: str) -> Conflict:
    return Conflict(
        f"The {cls.__name__} received over the bus {text}: two services have different versions. "
        "Restart them: systemctl restart 'hive-*'"
    )


def _pascal_case(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))
