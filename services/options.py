"""Named options from the bus (`a{sv}`), checked against their record.

    _SEND = Options(SendOptions, "option of Send", dedupe_key=Field(min_length=1, max_length=128))
    chosen = _SEND.parse({"urgent": True})      # a SendOptions

The record in wire.records has the keys, the types and the defaults; the room adds the bounds. A
field without a default is required. One of an unsigned type is not negative, and one of a signed
type fits in 64 bits, though a caller can send any integer in a variant.
"""

from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property
from types import UnionType
from typing import Annotated, Any, Generic, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from wire.errors import InvalidArgument
from wire.records import keys
from wire.types import Signature

R = TypeVar("R", bound=tuple[Any, ...])

_UNSIGNED = frozenset({"q", "u", "t"})
_SIGNED = Field(ge=-(2**63), le=2**63 - 1)
_LONGEST_KEY = 64
"""The characters of an unknown key that an error repeats."""


class Options(Generic[R]):
    """The rules for one kind of options: nothing unknown, nothing converted."""

    def __init__(self, record: type[R], name: str, **bounds: Any) -> None:
        """Take the keys and types of `record`.

        Args:
            record: a dictionary record of wire.records.
            name: the words for one of the options in an error, such as "option of Send".
            bounds: a `pydantic.Field` for each field of the record that has bounds.
        """
        self._record = record
        self._name = name
        self._bounds = bounds
        self._names = tuple(keys(record))

    def parse(self, values: Mapping[str, object]) -> R:
        """Return `values` as the record.

        Raises:
            InvalidArgument: a key is unknown or a value is not valid; the sentence names it.
        """
        try:
            found = self._model.model_validate(dict(values))
        except ValidationError as error:
            raise InvalidArgument(self._sentence(error)) from None
        return self._record(*[getattr(found, name) for name in self._names])

    @cached_property
    def _model(self) -> type[BaseModel]:
        hints = get_type_hints(self._record, include_extras=True)
        defaults = self._record._field_defaults  # type: ignore[attr-defined]
        fields: dict[str, Any] = {}
        for name, key in keys(self._record).items():
            bounds = self._bounds.get(name, Field())
            field = Field(defaults.get(name, ...), alias=key)
            fields[name] = (_annotated(hints[name], bounds), field)
        return create_model(
            self._record.__name__,
            __config__=ConfigDict(extra="forbid", strict=True, frozen=True),
            **fields,
        )

    def _sentence(self, error: ValidationError) -> str:
        first = error.errors(include_url=False, include_context=False)[0]
        name = str(first["loc"][0])[:_LONGEST_KEY]
        if first["type"] == "extra_forbidden":
            known = ", ".join(keys(self._record).values())
            return f"{name!r} is not a valid {self._name}. Use one of: {known}."
        if first["type"] == "missing":
            return f"The {self._name} {name!r} is missing."
        return f"The {self._name} {name!r} is not valid: {first['msg']}."


def _annotated(hint: Any, bounds: Any) -> Any:
    """Return `hint` with its bounds; an enumeration is taken from its text."""
    if any(_is_enum(one) for one in (hint, *get_args(hint))):
        return Annotated[hint, bounds, Field(strict=False)]
    if get_origin(hint) is UnionType or get_origin(hint) is Union:
        # Another type of the union may have values that are not compared with numbers.
        hint = Union[tuple(_natural(one) for one in get_args(hint))]  # noqa: UP007
    return Annotated[_natural(hint), bounds]


def _natural(hint: Any) -> Any:
    """Return `hint` with the bounds of its type, if it is one of integers."""
    signatures = {one.signature for one in get_args(hint) if isinstance(one, Signature)}
    if signatures & _UNSIGNED:
        return Annotated[hint, Field(ge=0)]
    return Annotated[hint, _SIGNED] if "x" in signatures else hint


def _is_enum(hint: object) -> bool:
    return isinstance(hint, type) and issubclass(hint, StrEnum)
