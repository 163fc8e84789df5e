"""Times and durations as people type them. Strict: what could be read in two ways is refused."""

import re
from datetime import date, datetime, time, timedelta
from typing import Final

_UNITS: Final = {"w": 604_800, "d": 86_400, "h": 3600, "m": 60, "s": 1}
_DURATION: Final = re.compile(r"(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", re.ASCII)
_CLOCK: Final = re.compile(r"\d\d?:\d\d(:\d\d(\.\d{1,6})?)?", re.ASCII)
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_ZONE: Final = re.compile(r"Z|[+-]\d\d:\d\d", re.ASCII)
_DAYS: Final = {"yesterday": -1, "today": 0, "tomorrow": 1}

MAX_SECONDS: Final = 3_155_760_000
"""A century, beyond which nobody means it."""

DAY: Final = 86_400
MAX_AHEAD: Final = timedelta(days=3650)
"""Farther than this the broker does not look ahead, either."""

HOW: Final = 'write 10:00, "yesterday 10:00", 2026-01-31, 2026-01-31T10:00'


class NotATimeError(ValueError):
    """What was typed is no time or no duration; `str()` says how one is written."""


def seconds(typed: str, most: int = MAX_SECONDS) -> int:
    """A duration such as `90s`, `10m`, `1h30m` or `2d` in seconds, 1 to `most`.

    Raises NotATimeError.
    """
    found = _DURATION.fullmatch(typed.strip())
    parts = zip(found.groups(), _UNITS.values(), strict=True) if found else ()
    total = sum(int(count[:12]) * unit for count, unit in parts if count)
    if total > most:
        raise NotATimeError(f"{typed!r} is too long; it may be {most // DAY}d at most.")
    if total < 1:
        raise NotATimeError(f"{typed!r} is no duration; write 90s, 10m, 1h30m, 2d or 1w.")
    return total


def past(typed: str, now: datetime) -> int:
    """A time to look back to, in microseconds since 1970: `2h` is two hours ago.

    A clock alone, such as `10:00`, is today's. `now` has a time zone, which is the operator's.
    Raises NotATimeError.
    """
    text = typed.strip().removesuffix(" ago")
    if text and _DURATION.fullmatch(text):
        return _microseconds(now - timedelta(seconds=seconds(text)))
    return _microseconds(_parse(typed, now, f"{HOW} or 2h (ago)"))


def future(typed: str, now: datetime) -> int:
    """A time to come, in microseconds since 1970; a clock alone is the next one that comes.

    Raises NotATimeError, also for a time that has passed.
    """
    if typed.strip() and _DURATION.fullmatch(typed.strip()):
        raise NotATimeError(f"{typed!r} is no time but a duration; use --in for that.")
    moment = _parse(typed, now, HOW.replace("yesterday", "tomorrow"))
    if moment <= now and _CLOCK.fullmatch(typed.strip()):
        moment = _at(now.date() + timedelta(days=1), moment.time())
    if moment <= now:
        raise NotATimeError(f"{typed!r} has passed already.")
    if moment > now + MAX_AHEAD:
        raise NotATimeError(f"{typed!r} is more than ten years away.")
    return _microseconds(moment)


def _parse(typed: str, now: datetime, how: str) -> datetime:
    day, _, clock = typed.strip().replace("T", " ", 1).partition(" ")
    try:
        if _CLOCK.fullmatch(day) and not clock:
            return _at(now.date(), _clock(day))
        if day in _DAYS:
            return _at(now.date() + timedelta(days=_DAYS[day]), _clock(clock))
        if _DAY.fullmatch(day):
            return _dated(date.fromisoformat(day), clock)
    except (ValueError, OverflowError):
        pass  # such as the 31st of February, or 25:00
    raise NotATimeError(f"{typed!r} is no time; {how}.")


def _dated(day: date, clock: str) -> datetime:
    zone = _ZONE.search(clock)
    if zone is None:
        return _at(day, _clock(clock))
    if zone.end() != len(clock):
        raise ValueError(clock)
    named = datetime.fromisoformat(f"2000-01-01T00:00{zone.group()}").tzinfo
    return datetime.combine(day, _clock(clock[: zone.start()]), named)


def _clock(typed: str) -> time:
    """The time of day; midnight for none. Raises ValueError."""
    if typed and not _CLOCK.fullmatch(typed):
        raise ValueError(typed)
    return time.fromisoformat((typed if typed[2:3] == ":" else f"0{typed}") if typed else "00:00")


def _at(day: date, clock: time) -> datetime:
    """That time of that day, as the operator's clock shows it."""
    return datetime.combine(day, clock).astimezone()


def _microseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)
