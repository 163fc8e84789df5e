"""The parts of a request that cost more than the tokens of its text: bounded, or refused.

A reservation must be at least the cost of its request. So a request without a known bound is
refused.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from services.gateway.api.errors import ApiError

OVERHEAD: Final = 5_000
"""Tokens that the provider adds to a request, such as its instructions for its own tools."""
IMAGE_TOKENS: Final = 5_000
"""The most tokens of an image. A small file may be a large image."""
MAX_SEARCHES: Final = 20
SEARCH_TOKENS: Final = 20_000
"""Tokens of the results of a search, rather too many."""

_CLIENT_TOOL: Final = re.compile(
    r"custom|((bash|text_editor|computer|memory)_|tool_search_tool_(bm25|regex)(_|$))[0-9]*"
)
"""The types of tools that the client runs itself, or that cost nothing but their tokens."""
_SEARCH: Final = re.compile(r"web_search_[0-9]{8}")
_REFUSED: Final = ("compaction", "container", "fallbacks", "mcp_servers")
"""The keys by which the provider generates more than one answer, or bills time."""


@dataclass(slots=True)
class Priced:
    """The findings in one body."""

    images: int = 0
    documents: int = 0
    """Documents whose number of pages is not known."""
    added: list[object] = field(default_factory=list)
    """The tools that are added in the middle of the conversation."""
    searches: int = 0

    def look(self, values: dict[str, object]) -> None:
        """Look at one object of the body, wherever it is."""
        match values.get("type"):
            case "image":
                self.images += 1
            case "document":
                source = values.get("source")
                kind = source.get("type") if isinstance(source, dict) else None
                self.documents += kind not in ("text", "content")
            case "tool_definition":
                self.added.append(values.get("definition"))

    def check(self, body: dict[str, object]) -> None:
        """Check the whole body.

        Raises:
            ApiError: it asks for something whose price is not in a reservation.
        """
        if body.get("speed") not in (None, "standard"):
            # With these words Claude Code repeats the request without it, and remembers that.
            raise _refusal("Fast mode is not enabled: its price is not in a reservation")
        if body.get("inference_geo") not in (None, "global"):
            raise _refusal("inference_geo must be global")
        if wrong := [key for key in _REFUSED if body.get(key)]:
            raise _refusal(f"{wrong[0]} is not supported: its price is not in a reservation")
        managed = body.get("context_management")
        edits = managed.get("edits") if isinstance(managed, dict) else None
        for edit in _objects(edits, "context_management.edits"):
            if not str(edit.get("type")).startswith("clear_"):
                raise _refusal("context_management may only clear parts of the context")
        for tool in [*_objects(body.get("tools"), "tools"), *_objects(self.added, "a tool")]:
            self._tool(tool)

    def tokens(self, length: int, most: int) -> int:
        """Return the most tokens that are read for a body of `length` bytes.

        Args:
            length: the bytes of the body; a token has at least one.
            most: the most that a model reads at once.
        """
        prompt = most if self.documents else length + OVERHEAD + self.images * IMAGE_TOKENS
        # After each search the model reads everything again.
        return sum(
            min(prompt + searches * SEARCH_TOKENS, most) for searches in range(self.searches + 1)
        )

    def _tool(self, tool: dict[str, object]) -> None:
        kind = tool.get("type") or "custom"
        if not isinstance(kind, str):
            raise _refusal("the type of a tool must be a text")
        if _SEARCH.fullmatch(kind):
            uses = tool.get("max_uses")
            if not isinstance(uses, int) or isinstance(uses, bool) or not 0 < uses <= MAX_SEARCHES:
                raise _refusal(f"max_uses of {kind} must be a number from 1 to {MAX_SEARCHES}")
            self.searches += uses
        elif not _CLIENT_TOOL.fullmatch(kind):
            raise _refusal(
                f"the tool {kind[:64]!r} of the provider is not supported: its price is not in a "
                "reservation"
            )


def _objects(value: object, name: str) -> Iterable[dict[str, object]]:
    if value is None:
        return
    if not isinstance(value, list):
        raise _refusal(f"{name} must be a list")
    for one in value:
        if not isinstance(one, dict):
            raise _refusal(f"{name} must be objects")
        yield one


def _refusal(sentence: str) -> ApiError:
    return ApiError(400, f"{sentence}.")
