"""What all tools' arguments have in common; each tool's own stand beside the tool."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from wire import names

MAX_TEXT = 1024 * 1024
"""Characters of a text. The broker counts bytes, and may be set to less: this is the upper end."""

Id = Annotated[int, Field(ge=1, le=2**53 - 1)]
"""2^53 is as far as a JSON number goes without loss."""

Name = Annotated[
    str,
    Field(
        pattern=f"^{names.AGENT_NAME.pattern}$",
        description="1 to 9 characters: a lower-case letter, then letters, digits or '-'.",
    ),
]


class Arguments(BaseModel):
    """The arguments of a tool: a call is checked by it, and clients see its schema."""

    # Each is built when its tool is first listed or called: the endpoint listens sooner.
    model_config = ConfigDict(extra="forbid", defer_build=True)

    @classmethod
    def schema_for_clients(cls) -> dict[str, Any]:
        """The JSON schema, without the titles that pydantic makes up."""
        schema = cls.model_json_schema()
        schema.pop("title", None)
        schema.pop("description", None)
        schema.setdefault("properties", {})
        for field in schema["properties"].values():
            field.pop("title", None)
        return schema


class Nothing(Arguments):
    """No arguments."""
