"""A compaction: Claude Code condenses the context of its session."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.claude import failures
from harness.claude.failures import Failure, TurnError
from harness.claude.run import Outcome, Run
from harness.jsonvalues import JsonObject

if TYPE_CHECKING:
    from claude_agent_sdk import Message

    from harness.claude.run import Observer

COMMAND: Final = "/compact"

COMPACT_TIMEOUT: Final = 600.0


@dataclass(frozen=True)
class Compaction:
    """The tokens of the context before and after a compaction."""

    before: int
    after: int


class CompactionObserver:
    """An observer of the messages of a compaction, which passes them on to `observe`."""

    def __init__(self, observe: "Observer") -> None:
        self._observe = observe
        self._found: JsonObject | None = None

    def __call__(self, message: "Message") -> None:
        """Take note of a message."""
        from claude_agent_sdk import SystemMessage

        self._observe(message)
        if isinstance(message, SystemMessage) and message.subtype == "compact_boundary":
            self._found = message.data.get("compact_metadata") or {}

    def done(self, run: Run, outcome: Outcome) -> Compaction:
        """Return the compaction.

        Raises:
            TurnError: the context was not compacted.
        """
        if self._found is None:
            if outcome.result.is_error and not outcome.interrupted:
                raise failures.of_result(outcome.result, run.error, run.limit_until)
            reason = "it was cancelled" if outcome.interrupted else outcome.result.result
            raise TurnError(reason or "there was nothing to compact", Failure.REFUSED, alive=True)
        before, after = (int(self._found.get(key) or 0) for key in ("pre_tokens", "post_tokens"))
        return Compaction(before, after)
