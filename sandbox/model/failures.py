"""The failures of the Messages API: their status, body and headers, as the real one sends them."""

import math
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, Literal

from sandbox.model.jsonvalues import JsonObject

Window = Literal["five_hour", "seven_day"]

DEFAULT_RESET: Final = 60.0
"""Seconds until a rate limit ends, unless the scenario names others."""


class Failure(StrEnum):
    """The failures that a step can name."""

    OVERLOADED = "overloaded"
    RATE_LIMIT = "rate-limit"
    PROMPT_TOO_LONG = "prompt-too-long"
    AUTHENTICATION = "authentication"
    TOKEN_EXPIRED = "token-expired"  # noqa: S105 - the name of a failure
    CREDIT_BALANCE = "credit-balance"
    PERMISSION = "permission"
    NO_SUCH_MODEL = "no-such-model"
    REQUEST_TOO_LARGE = "request-too-large"
    INTERNAL = "internal"


TYPES: Final[Mapping[int, str]] = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}
"""The error's type by its status."""

_SENTENCES: Final[Mapping[Failure, tuple[int, str]]] = {
    Failure.OVERLOADED: (529, "Overloaded"),
    Failure.RATE_LIMIT: (429, "This request would exceed your account's rate limit."),
    Failure.PROMPT_TOO_LONG: (400, "prompt is too long: 214315 tokens > 200000 maximum"),
    Failure.AUTHENTICATION: (401, "invalid x-api-key"),
    Failure.TOKEN_EXPIRED: (
        401,
        "OAuth token has expired. Please obtain a new token or refresh your existing token.",
    ),
    Failure.CREDIT_BALANCE: (
        400,
        "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing "
        "to upgrade or purchase credits.",
    ),
    Failure.PERMISSION: (403, "Your API key does not have permission to use this resource."),
    Failure.NO_SUCH_MODEL: (404, "model: {model}"),
    Failure.REQUEST_TOO_LARGE: (413, "Request exceeds the maximum size"),
    Failure.INTERNAL: (500, "Internal server error"),
}


@dataclass(frozen=True)
class Refusal:
    """An answer of the API that is an error."""

    status: int
    sentence: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def body(self) -> JsonObject:
        """The body, in the form of the API."""
        return body(self.status, self.sentence)


def body(status: int, sentence: str) -> JsonObject:
    """Return the body of an error, in the form of the API."""
    kind = TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return {
        "type": "error",
        "error": {"type": kind, "message": sentence},
        "request_id": f"req_{uuid.uuid4().hex[:24]}",
    }


def refusal(
    failure: Failure,
    model: str,
    *,
    sentence: str = "",
    limit: Window | None = None,
    resets_in: float | None = None,
) -> Refusal:
    """Return the refusal for a named failure.

    Args:
        failure: the failure.
        model: the model of the request.
        sentence: the text of the error, instead of the API's own.
        limit: the window of a subscription that is used up; None for the limit of a key.
        resets_in: the seconds until the limit ends.
    """
    status, usual = _SENTENCES[failure]
    headers: dict[str, str] = {}
    if failure is Failure.RATE_LIMIT:
        headers = _limits(limit, DEFAULT_RESET if resets_in is None else resets_in)
    else:
        headers = {"x-should-retry": "true" if status >= 500 else "false"}
    return Refusal(status, sentence or usual.replace("{model}", model), headers)


def _limits(limit: Window | None, resets_in: float) -> dict[str, str]:
    """Return the headers that tell when a rate limit ends."""
    at = math.ceil(time.time() + resets_in)  # a client that waits until then is not refused again
    wait = {"retry-after": str(max(1, round(resets_in)))}
    if limit is None:  # a key: requests and tokens a minute
        reset = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return wait | {
            "anthropic-ratelimit-requests-limit": "50",
            "anthropic-ratelimit-requests-remaining": "0",
            "anthropic-ratelimit-requests-reset": reset,
            "anthropic-ratelimit-input-tokens-limit": "30000",
            "anthropic-ratelimit-input-tokens-remaining": "0",
            "anthropic-ratelimit-input-tokens-reset": reset,
            "x-should-retry": "true",
        }
    prefix, short = "anthropic-ratelimit-unified", "5h" if limit == "five_hour" else "7d"
    return wait | {
        f"{prefix}-status": "rejected",
        f"{prefix}-reset": str(at),
        f"{prefix}-representative-claim": limit,
        f"{prefix}-{short}-status": "rejected",
        f"{prefix}-{short}-reset": str(at),
        f"{prefix}-{short}-utilization": "1.0",
        f"{prefix}-overage-status": "rejected",
        f"{prefix}-overage-disabled-reason": "org_level_disabled",
        "x-should-retry": "false",
    }
