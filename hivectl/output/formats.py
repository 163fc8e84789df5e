"""Times, sizes and limits as text."""

from datetime import UTC, datetime

_SIZES = frozenset({"memory_high", "memory_max", "memory", "memory_peak", "disk", "disk_max"})
"""The resources that are counted in bytes."""


def local_time(microseconds: int) -> str:
    """Return a time in microseconds since 1970 as local time; `-` for 0."""
    if not microseconds:
        return "-"
    moment = datetime.fromtimestamp(microseconds / 1e6).astimezone()
    today = moment.date() == datetime.now().astimezone().date()
    return moment.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M")


def iso_time(microseconds: int) -> str | None:
    """Return a time in microseconds since 1970 in ISO 8601, UTC, for programs; None for 0."""
    if not microseconds:
        return None
    seconds, rest = divmod(microseconds, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:06d}Z"


def size(count: int) -> str:
    """Return `count` bytes for people: 512 B, 4.0 KiB, 1.5 GiB."""
    amount, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
    while amount >= 1024 and len(units) > 1:
        amount /= 1024
        units.pop(0)
    return f"{amount:.0f} {units[0]}" if units[0] == "B" else f"{amount:.1f} {units[0]}"


def amount(resource: str, value: int) -> str:
    """Return `value` of a limit, or of a use, with its unit."""
    if resource in _SIZES:
        return size(value)
    units = {"cpu_quota": f"{value} %", "cpu": f"{value / 1_000_000:.1f} s"}
    return units.get(resource, str(value))
