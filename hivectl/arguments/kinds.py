"""The kinds of messages."""

from typing import Final

import click
from click.shell_completion import CompletionItem

from hivectl.arguments.hints import hint

KINDS: Final = (
    "message",
    "approval-resolved",
    "budget-exhausted",
    "budget-warning",
    "container-crash",
    "dead-letter",
    "disk-space",
    "egress-decided",
    "forge",
    "logged-in",
    "needs-login",
    "needs-update",
    "permission-answered",
    "provider-limit",
    "question-answered",
    "question-asked",
    "rebuilt",
    "reminder",
    "shared-limit",
    "spawned",
    "update-failed",
    "wake-failed",
)
"""The kinds: `message` is that of agents and of the operator, the others are the hive's."""


class KindType(click.ParamType[str]):
    """The type of an option that selects a kind of messages."""

    name = "kind"

    def __init__(self, *more: str) -> None:
        """Take KINDS, and `more` words."""
        self._known = (*KINDS, *more)

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the kind that was typed."""
        if value not in self._known:
            self.fail(
                f"{value!r} is not a kind of messages. Kinds are: {', '.join(self._known)}."
                f"{hint(value, self._known)}"
            )
        return value

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Offer the kinds that begin with what was typed."""
        return [CompletionItem(kind) for kind in self._known if kind.startswith(incomplete)]
