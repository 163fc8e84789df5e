"""Parse times and durations that users type. Ambiguous input is refused."""

import re
from datetime import MAXYEAR, UTC, date, datetime, time, timedelta
from typing import Final

_UNITS: Final = {"w": 604_800, "d": 86_400, "h": 3600, "m": 60, "s": 1}
_DURATION: Final = re.compile(r"(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", re.ASCII)
_CLOCK: Final = re.compile(r"\d\d?:\d\d(:\d\d(\.\d{1,6})?)?", re.ASCII)
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_ZONE: Final = re.compile(r"Z|[+-]\d\d:\d\d", re.ASCII)
_DAYS: Final = {"yesterday": -1, "today": 0, "tomorrow": 1}

MAX_SECONDS: Final = 3_155_760_000
"""A century: the longest duration."""

DAY: Final = 86_400
MAX_AHEAD: Final = timedelta(days=3650)
"""The farthest future time, which is also the broker's bound."""

HOW: Final = 'Write it like 10:00, "yesterday 10:00", 2026-01-31 or 2026-01-31T10:00'


class InvalidTimeError(ValueError):
    """The text is not a time or not a duration; `str()` says how to write one."""


def seconds(typed: str, most: int = MAX_SECONDS) -> int:
    """Parse a duration such as `90s`, `10m`, `1h30m` or `2d`.

    Returns:
        Whole seconds, from 1 to `most`.

    Raises:
        InvalidTimeError: `typed` is not a duration, or it is too long.
    """
    found = _DURATION.fullmatch(typed.strip())
    parts = zip(found.groups(), _UNITS.values(), strict=True) if found else ()
    total = sum(int(count[:12]) * unit for count, unit in parts if count)
    if total > most:
        raise InvalidTimeError(f"{typed!r} is too long: at most {most // DAY}d are allowed.")
    if total < 1:
        raise InvalidTimeError(
            f"{typed!r} is not a valid duration. Write it with units: 90s, 10m, 1h30m, 2d or 1w."
        )
    return total


def past(typed: str, now: datetime) -> int:
    """Parse a time in the past; `2h` is two hours ago, and `10:00` is 10:00 today.

    Args:
        now: the current time, in the operator's time zone.

    Returns:
        Microseconds since 1970.

    Raises:
        InvalidTimeError: `typed` is not a time.
    """
    text = typed.strip().removesuffix(" ago")
    if text and _DURATION.fullmatch(text):
        return _microseconds(now - timedelta(seconds=seconds(text)))
    return _microseconds(_parse(typed, now, f"{HOW}, or 2h for two hours ago"))


def future(typed: str, now: datetime) -> int:
    """Parse a time in the future; `10:00` is the next 10:00.

    Args:
        now: the current time, in the operator's time zone.

    Returns:
        Microseconds since 1970.

    Raises:
        InvalidTimeError: `typed` is not a time, has passed, or is too far away.
    """
    if typed.strip() and _DURATION.fullmatch(typed.strip()):
        raise InvalidTimeError(f"{typed!r} is a duration, not a time; use --in for durations.")
    moment = _parse(typed, now, HOW.replace("yesterday", "tomorrow"))
    if moment <= now and _CLOCK.fullmatch(typed.strip()):
        moment = _at(now.date() + timedelta(days=1), moment.time())
    if moment <= now:
        raise InvalidTimeError(f"{typed!r} has passed already. Give a time in the future.")
    if moment > now + MAX_AHEAD:
        raise InvalidTimeError(f"{typed!r} is more than ten years away. Give an earlier time.")
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
    raise InvalidTimeError(f"{typed!r} is not a valid time. {how}.")


def _dated(day: date, clock: str) -> datetime:
    zone = _ZONE.search(clock)
    if zone is None:
        return _at(day, _clock(clock))
    if zone.end() != len(clock):
        raise ValueError(clock)
    named = datetime.fromisoformat(f"2000-01-01T00:00{zone.group()}").tzinfo
    return datetime.combine(day, _clock(clock[: zone.start()]), named)


def _clock(typed: str) -> time:
    """Parse a time of day; an empty one is midnight. Raises ValueError."""
    if typed and not _CLOCK.fullmatch(typed):
        raise ValueError(typed)
    return time.fromisoformat((typed if typed[2:3] == ":" else f"0{typed}") if typed else "00:00")


def _at(day: date, clock: time) -> datetime:
    """Return this time of this day in the operator's time zone."""
    moment = datetime.combine(day, clock)
    if day.year == MAXYEAR:
        return moment.replace(tzinfo=UTC)  # astimezone may need a day that datetime cannot express
    return moment.astimezone()


def _microseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)
