"""Named arguments from the bus (`a{sv}`), checked."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from wire.errors import InvalidArgument

LAST_ID: Final = 2**63 - 1
"""No id is greater than sqlite's integers."""

Id = Annotated[int, Field(ge=1, le=LAST_ID)]


class Arguments(BaseModel):
    """Named arguments from the bus: nothing unknown, nothing converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


_Model = TypeVar("_Model", bound=Arguments)


def parse(model: type[_Model], values: Mapping[str, Any], what: str) -> _Model:
    """`values` as a `model`; `what` names them in the error, such as "option of Send".

    Raises:
        InvalidArgument: something is unknown or out of its bounds; the sentence names it.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        name = str(first["loc"][0])[:64]
        if first["type"] == "extra_forbidden":
            known = ", ".join(f.alias or n for n, f in model.model_fields.items())
            sentence = f"There is no {what} called {name!r}; there are {known}."
        else:
            sentence = f"The {what} {name!r} is not valid: {first['msg']}."
        raise InvalidArgument(sentence) from None
