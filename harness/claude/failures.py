"""The ways in which a turn fails, and the consequence of each for its messages."""

from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from claude_agent_sdk import ResultMessage


class Failure(StrEnum):
    """The cause of a failed turn."""

    OUTAGE = "outage"
    """The model's API is down or overloaded, or does not know the model; or a budget is used up."""
    LIMIT = "limit"
    """The API refuses requests because a limit of usage is reached."""
    LOGIN = "login"
    """The API refuses the credentials."""
    START = "start"
    """Claude Code does not start."""
    TIME = "time"
    """The turn exceeded its time limit and was cut off."""
    TOO_LONG = "too-long"
    """The prompt does not fit into the model's context."""
    CLAUDE = "claude"
    """Claude Code ended or failed in the middle of the turn."""
    REFUSED = "refused"
    """The API refused the request as invalid."""


KEEPING: Final = frozenset({Failure.OUTAGE, Failure.LIMIT, Failure.LOGIN, Failure.START})
"""The causes that do not depend on the messages. The harness keeps its messages and tries again:
otherwise an outage would make dead letters of all messages.
"""

_KINDS: Final = {
    "authentication_failed": Failure.LOGIN,
    "billing_error": Failure.OUTAGE,
    "rate_limit": Failure.LIMIT,
    "server_error": Failure.OUTAGE,
    "model_not_found": Failure.OUTAGE,
}
"""Claude Code's names for errors of the model's API."""

_OVERLOADED: Final = 529
_NO_WAY: Final = 502
"""The status of the gateway, too, when it gets no answer."""

OTHER_MODEL: Final = "`hivectl model` chooses another one."
"""The remedy when the API does not know the model."""

_TOO_LONG: Final = ("prompt is too long", "prompt_too_long")


class TurnError(Exception):
    """A turn failed.

    Attributes:
        failure: The cause.
        until: The time at which the limit ends, in seconds since 1970; 0 if it is not known.
        alive: Whether Claude Code still runs and can take the next prompt.
    """

    def __init__(
        self, reason: str, failure: Failure, *, until: float = 0.0, alive: bool = False
    ) -> None:
        super().__init__(reason)
        self.failure = failure
        self.until = until
        self.alive = alive


def of_result(result: "ResultMessage", error: str | None, until: float) -> TurnError:
    """Return the error for the result of a turn that failed.

    Args:
        result: the result.
        error: Claude Code's name for the error of the last answer, if there was one.
        until: the time at which a limit ends; 0 if none was reported.
    """
    reason = result.result or "; ".join(result.errors or []) or result.subtype
    status = result.api_error_status or 0
    told = f"{reason} {result.terminal_reason or ''}".lower()
    if any(words in told for words in _TOO_LONG):
        return TurnError(reason, Failure.TOO_LONG)
    if error == "authentication_failed" or status in (401, 403):
        return TurnError(reason, Failure.LOGIN)
    if until or status in (429, _OVERLOADED):
        return TurnError(reason, Failure.LIMIT, until=until)
    if error == "model_not_found":
        reason = f"{reason} {OTHER_MODEL}"
    if status in (404, 408) or status >= 500:
        return TurnError(reason, Failure.OUTAGE)
    return TurnError(reason, _KINDS.get(error or "", Failure.REFUSED))


def of_retry(status: int | None, error: str) -> tuple[bool, str]:
    """Describe a request of Claude Code that failed and that it repeats by itself.

    Returns:
        Whether the API limits the requests, and the reason in words.
    """
    limited = status in (429, _OVERLOADED) or error in ("rate_limit", "overloaded")
    if status == _OVERLOADED or error == "overloaded":
        words = "the model's API is overloaded"
    elif limited:
        words = "the model's API limits the number of requests"
    elif status == _NO_WAY:
        words = "the model's API fails, or the gateway cannot reach it"
    elif status:
        words = "the model's API fails"
    else:
        words = "the model's API cannot be reached"
    return limited, f"{words} ({status or error})"
