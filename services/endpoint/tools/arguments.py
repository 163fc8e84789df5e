"""The base of all tools' arguments. Each tool's own arguments are defined beside the tool."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from services.endpoint.jsonvalues import JsonObject
from wire import names

MAX_TEXT = 1024 * 1024
"""Characters of a text. The broker counts bytes and may be configured to take less."""

Id = Annotated[int, Field(ge=1, le=2**53 - 1)]
"""The id of a message, question, reminder or request. JSON numbers are exact up to 2^53."""

Name = Annotated[
    str,
    Field(
        pattern=f"^{names.AGENT_NAME.pattern}$",
        description="The name of an agent: 1 to 9 characters, first a lower-case letter, then"
        " lower-case letters, digits or '-'.",
    ),
]


class Arguments(BaseModel):
    """The arguments of a tool: calls are checked against it, and clients see its schema."""

    # The model is built when its tool is first listed or called: the endpoint listens sooner.
    model_config = ConfigDict(extra="forbid", defer_build=True)

    @classmethod
    def schema_for_clients(cls) -> JsonObject:
        """Return the JSON schema, without the titles that pydantic generates."""
        schema = cls.model_json_schema()
        schema.pop("title", None)
        schema.pop("description", None)
        schema.setdefault("properties", {})
        for field in schema["properties"].values():
            field.pop("title", None)
        return schema


class NoArguments(Arguments):
    """The arguments of a tool that takes none."""
