"""The table of all tools. Each tool is defined with its arguments in the module of its subject."""

from functools import cache
from typing import Final

from services.endpoint.tools import (
    agents,
    approvals,
    changes,
    egress,
    harness,
    messages,
    permissions,
    questions,
    reminders,
    telemetry,
    threads,
    turns,
)
from services.endpoint.tools.tool import Audience, Tool

TOOLS: Final = (
    *messages.TOOLS,
    *questions.TOOLS,
    *reminders.TOOLS,
    *threads.TOOLS,
    *agents.TOOLS,
    *egress.TOOLS,
    *approvals.TOOLS,
    *changes.TOOLS,
    *harness.TOOLS,
    *turns.TOOLS,
    *permissions.TOOLS,
    *telemetry.TOOLS,
)


@cache
def tools_for(audience: Audience) -> dict[str, Tool]:
    """Return the tools that `audience` sees, by name."""
    return {tool.name: tool for tool in TOOLS if audience in tool.audience}
