"""Times, sizes and limits as text."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wire.records.ledger import Budget

_SIZES = frozenset({"memory_high", "memory_max", "memory", "memory_peak", "disk", "disk_max"})
"""The resources that are counted in bytes."""


def moment_of(seconds: float) -> datetime | None:
    """Return a time in seconds since 1970 as local time; None if no calendar shows it.

    An agent can report any number: one that cannot be shown must not hide all the others.
    """
    try:
        return datetime.fromtimestamp(seconds).astimezone()
    except (ValueError, OverflowError, OSError):
        return None


def local_time(microseconds: int) -> str:
    """Return a time in microseconds since 1970 as local time; `-` for 0, or if none is shown."""
    moment = moment_of(microseconds / 1e6) if microseconds else None
    if moment is None:
        return "-"
    today = moment.date() == datetime.now().astimezone().date()
    return moment.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M")


def iso_time(microseconds: int) -> str | None:
    """Return a time in microseconds since 1970 in ISO 8601, UTC, for programs.

    Returns:
        The time; None for 0, and for a time that ISO 8601 cannot show.
    """
    if not microseconds:
        return None
    seconds, rest = divmod(microseconds, 1_000_000)
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:06d}Z"
    except (ValueError, OverflowError, OSError):
        return None


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


def age(microseconds: int) -> str:
    """Return how long ago a time was, in at most 4 columns: 12s, 5m, 3h, 40d; `-` for 0."""
    if not microseconds:
        return "-"
    seconds = max(0, int(datetime.now(UTC).timestamp() - microseconds / 1_000_000))
    for unit, length, most in (("s", 1, 60), ("m", 60, 60), ("h", 3600, 48)):
        if seconds < length * most:
            return f"{seconds // length}{unit}"
    return f"{seconds // 86400}d"


def ago(microseconds: int) -> str:
    """Return how long ago a time was, in words: 12 s ago, 5 min ago, 3 h ago, 40 days ago."""
    if not microseconds:
        return "-"
    seconds = max(0, int(datetime.now(UTC).timestamp() - microseconds / 1_000_000))
    for unit, length, most in (("s", 1, 60), ("min", 60, 60), ("h", 3600, 48)):
        if seconds < length * most:
            return f"{seconds // length} {unit} ago"
    return f"{seconds // 86400} days ago"


def short_time(microseconds: int) -> str:
    """Return a time in microseconds since 1970 as local time, in at most 11 columns.

    Returns:
        The time; `-` for one that cannot be shown.
    """
    moment = moment_of(microseconds / 1e6)
    if moment is None:
        return "-"
    now = datetime.now().astimezone()
    if moment.date() == now.date():
        return moment.strftime("%H:%M:%S")
    return moment.strftime("%m-%d %H:%M" if moment.year == now.year else "%Y-%m-%d")


def span(microseconds: int) -> str:
    """Return a duration for people, in at most 6 columns up to a hundred hours: 1.2s, 3m05s."""
    seconds = microseconds / 1_000_000
    if seconds < 59.95:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m"


def count(number: int) -> str:
    """Return a number for people, in at most 5 columns: 950, 12.3k, 1.2M."""
    amount = float(number)
    for unit in ("", "k", "M", "G"):
        if amount < 999.5:
            return f"{amount:.0f}{unit}" if not unit or amount >= 99.95 else f"{amount:.1f}{unit}"
        amount /= 1000
    return f"{amount:.1f}T"


def money(millionths: int) -> str:
    """Return millionths of a dollar for people; small amounts have four digits."""
    dollars = millionths / 1_000_000
    return f"${dollars:.4f}" if 0 < dollars < 1 else f"${dollars:.2f}"


def spent_of(budget: "Budget") -> list[str]:
    """Return how much of each limit of a budget is spent, such as `$1.25 of $5.00`; `?` marks a
    cost of models without a price."""
    parts = []
    if budget.limit:
        unknown = "?" if budget.unknown_price else ""
        parts.append(f"{money(budget.spent)}{unknown} of {money(budget.limit)}")
    if budget.limit_tokens:
        parts.append(f"{count(budget.spent_tokens)} of {count(budget.limit_tokens)} tokens")
    return parts


def place(host: str, port: int) -> str:
    """Return a host and its port as a rule of agent.toml."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
