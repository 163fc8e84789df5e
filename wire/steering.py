"""The commands and values that steer an agent, in hivectl, on its page and on the bus."""

from typing import Final, NamedTuple

EFFORTS: Final = ("low", "medium", "high", "xhigh", "max")
"""The levels of effort of Claude Code; not every model has each."""

DEFAULT: Final = "default"
"""The value that ends the operator's choice of a model or of a level of effort."""


class SlashCommand(NamedTuple):
    """A line of a chat, or of the prompt on an agent's page, that steers the agent."""

    argument: str
    """The word for its argument, which may be left out; empty if it takes none."""
    hint: str


SLASH_COMMANDS: Final = {
    "cancel": SlashCommand(
        "requeue", "interrupts the turn; with `requeue`, its messages are queued again"
    ),
    "compact": SlashCommand("", "compacts the context"),
    "model": SlashCommand(
        "NAME", "shows the model, or changes it; `default` is the configured one"
    ),
    "effort": SlashCommand("LEVEL", "shows the effort, or changes it; `default` ends the choice"),
    "new-session": SlashCommand("", "begins a new session, without what was said before"),
}
"""The commands of both; each has more of its own."""
