"""What each tool takes: the models that check a call, and become the schemas that clients see."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from wire import names

MAX_BODY = 1024 * 1024
"""Characters of a body. The broker counts bytes, so this is the upper end."""

MessageId = Annotated[int, Field(ge=1, le=2**53 - 1)]
"""2^53 is as far as a JSON number goes without loss."""

Name = Annotated[
    str,
    Field(
        pattern=f"^{names.AGENT_NAME.pattern}$",
        description="1 to 9 characters: a lower-case letter, then letters, digits or '-'.",
    ),
]


class Arguments(BaseModel):
    """The arguments of a tool."""

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


class Send(Arguments):
    """Arguments of `send`."""

    to: Annotated[
        str,
        Field(
            min_length=1,
            max_length=64,
            description="Who gets it: the name of an agent, 'manager', or 'operator' (a person).",
        ),
    ]
    body: Annotated[
        str, Field(min_length=1, max_length=MAX_BODY, description="The text, up to 1 MiB.")
    ]
    in_reply_to: Annotated[
        MessageId | None, Field(description="The id of the message that this one answers.")
    ] = None
    urgent: Annotated[
        bool,
        Field(description="Interrupt what the recipient is doing. Only when waiting does harm."),
    ] = False


class Receive(Arguments):
    """Arguments of `recv`."""

    wait_seconds: Annotated[
        float,
        Field(
            ge=0,
            le=180,
            allow_inf_nan=False,
            description="How long to wait for a message when there is none. 0 answers at once.",
        ),
    ] = 0
    max: Annotated[int, Field(ge=1, le=32, description="The most messages to get at once.")] = 8


class Ids(Arguments):
    """Arguments of `ack` and `release`."""

    ids: Annotated[
        list[MessageId], Field(max_length=1000, description="Ids of messages that recv returned.")
    ]


class Report(Arguments):
    """Arguments of `report`."""

    turn_state: Literal["idle", "thinking", "error", "needs-login"] | None = None
    model: Annotated[str, Field(max_length=128)] | None = None
    context_tokens: Annotated[int, Field(ge=0, le=2**53 - 1)] | None = None
    logged_in: bool | None = None


class RequestSpawn(Arguments):
    """Arguments of `request_spawn`."""

    name: Name
    reason: Annotated[
        str,
        Field(
            min_length=1,
            max_length=4096,
            description="Why the hive needs this agent. The operator decides by it.",
        ),
    ]


class OneAgent(Arguments):
    """Arguments of `start`, `kill` and `restart`."""

    name: Name
