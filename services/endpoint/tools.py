"""The table of all tools. Each stands with its arguments in the module of its subject."""

from functools import cache
from typing import Final

from services.endpoint import agents, duties, messages, questions, reminders, requests, threads
from services.endpoint.tool import Audience, Tool

TOOLS: Final = (
    *messages.TOOLS,
    *questions.TOOLS,
    *reminders.TOOLS,
    *threads.TOOLS,
    *agents.TOOLS,
    *requests.TOOLS,
    *duties.TOOLS,
)


@cache
def tools_for(audience: Audience) -> dict[str, Tool]:
    """The tools that `audience` sees, by name."""
    return {tool.name: tool for tool in TOOLS if audience in tool.audience}
