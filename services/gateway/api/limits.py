"""The limits of the provider, as the headers of its answers tell them."""

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple

MAX_SECONDS: Final = 8 * 86400
"""The longest time that is believed: the longest window of a limit has a week."""
_SECOND: Final = 1_000_000
_PREFIX: Final = "anthropic-ratelimit-"


class Limits(NamedTuple):
    """The limits: times in microseconds since 1970, 0 for not known."""

    limited_until: int = 0
    """When requests are taken again; 0 for not limited."""
    remaining_requests: int | None = None
    remaining_tokens: int | None = None
    remaining_until: int = 0
    """When the remaining ones are filled up again."""


def read(status: int, headers: Mapping[str, str], now: float | None = None) -> Limits:
    """Return the limits in the headers of an answer.

    Args:
        status: the status of the answer; 429 is a limit that is reached.
        headers: its headers, with their names in any case.
        now: seconds since 1970; now by default.
    """
    now = time.time() if now is None else now
    values = {name.lower(): value for name, value in headers.items()}
    resets = {
        name.removeprefix(_PREFIX).removesuffix("-reset"): _moment(value)
        for name, value in values.items()
        if name.startswith(_PREFIX) and name.endswith("-reset")
    }
    until = 0.0
    if status == 429:
        until = max([_retry_after(values, now), *_reached(values, resets)])
    tokens = [
        left
        for name in ("tokens", "input-tokens", "output-tokens")
        if (left := _count(values.get(f"{_PREFIX}{name}-remaining"))) is not None
    ]
    latest = max((t for name, t in resets.items() if not name.startswith("unified")), default=0.0)
    return Limits(
        _microseconds(until, now),
        _count(values.get(f"{_PREFIX}requests-remaining")),
        min(tokens, default=None),
        _microseconds(latest, now),
    )


def _reached(values: Mapping[str, str], resets: Mapping[str, float]) -> list[float]:
    """Return the resets of the limits of which nothing is left."""
    return [
        moment
        for name, moment in resets.items()
        if values.get(f"{_PREFIX}{name}-remaining") == "0"
        or values.get(f"{_PREFIX}{name}-status") == "rejected"
    ]


def _retry_after(values: Mapping[str, str], now: float) -> float:
    seconds = _count(values.get("retry-after"))
    return now + seconds if seconds is not None else 0.0


def _count(text: str | None) -> int | None:
    """Return a number below 10^10, which is as much as the ledger takes, or None."""
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) <= 10 else None


def _moment(text: str) -> float:
    """Return seconds since 1970 from a number of them or a time of RFC 3339; 0 for others."""
    if (seconds := _count(text)) is not None:
        return float(seconds)
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        return 0.0


def _microseconds(moment: float, now: float) -> int:
    """Return `moment` if it lies in the near future, otherwise 0."""
    return round(moment * _SECOND) if now < moment <= now + MAX_SECONDS else 0
