"""The tool for other hosts: request_egress."""

from typing import Annotated, Final

from pydantic import AfterValidator, Field

from services import egress
from services.endpoint.tools.arguments import Arguments
from services.endpoint.tools.tool import MODELS, Context, Tool, ToolResult


def _host(text: str) -> str:
    return str(egress.parse_host(text))


class RequestEgress(Arguments):
    """Arguments of `request_egress`."""

    host: Annotated[
        str,
        Field(
            min_length=1,
            max_length=egress.MAX_NAME,
            description="The name of the host, such as github.com, or its address; not a URL.",
        ),
        AfterValidator(_host),
    ]
    port: Annotated[
        int, Field(ge=1, le=65535, description="The port: 443 for https, 22 for ssh.")
    ] = 443
    reason: Annotated[
        str,
        Field(min_length=1, max_length=500, description="For the operator: why you need it."),
    ]


async def _request_egress(context: Context, call: RequestEgress) -> ToolResult:
    allowed = await context.services.check_egress(call.host, call.port, call.reason)
    place = egress.place(egress.parse_host(call.host), call.port)
    if allowed:
        note = f"{place} is allowed: connect now."
    else:
        note = (
            f"The operator was asked about {place}, and a message will tell you the answer. Go on "
            "with something else, or end your turn."
        )
    return ToolResult({"allowed": allowed, "note": note})


TOOLS: Final = (
    Tool(
        "request_egress",
        "Ask the operator to let you reach a host that the gateway has refused. Try the connection"
        " first: what is allowed needs no request. One request for a host and a port is enough.",
        RequestEgress,
        _request_egress,
        MODELS,
    ),
)
