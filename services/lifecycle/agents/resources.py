"""How much of the host an agent may use: from the configuration, and as the operator sets it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from services.config import ResourceLimits
from wire.errors import InvalidArgument

UNLIMITED: Final = 2**64 - 1
"""What systemd takes for no limit."""

DEFAULT: Final = "default"
"""Back to what the configuration says."""
MAX: Final = "max"
"""No limit, whatever the configuration says."""

Settings = Mapping[str, int | str]
"""What the operator has set: a number, or MAX."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One resource: its property in systemd, its setting in a unit file, and its bounds."""

    property: str
    setting: str
    low: int
    high: int
    suffix: str = ""
    factor: int = 1
    """What a unit of ours is in the property's."""


KINDS: Final[Mapping[str, Kind]] = {
    "memory_high": Kind("MemoryHigh", "MemoryHigh", 16 * 2**20, 2**60),
    "memory_max": Kind("MemoryMax", "MemoryMax", 16 * 2**20, 2**60),
    "cpu_weight": Kind("CPUWeight", "CPUWeight", 1, 10_000),
    # Percent of one processor; systemd counts microseconds in a second.
    "cpu_quota": Kind("CPUQuotaPerSecUSec", "CPUQuota", 1, 100_000, "%", 10_000),
    "tasks_max": Kind("TasksMax", "TasksMax", 64, 4_000_000),
    "io_weight": Kind("IOWeight", "IOWeight", 1, 10_000),
}


def checked(values: Mapping[str, object]) -> dict[str, int | str]:
    """What SetResources is asked for: numbers, MAX or DEFAULT.

    Raises InvalidArgument, which names the key and what it may be.
    """
    for key, value in values.items():
        kind = KINDS.get(key)
        if kind is None:
            raise InvalidArgument(
                f"There is no resource {key[:40]!r}; there are: {', '.join(KINDS)}."
            )
        number = isinstance(value, int) and not isinstance(value, bool)
        if not (value in (MAX, DEFAULT) or (number and kind.low <= value <= kind.high)):  # type: ignore[operator]
            raise InvalidArgument(
                f"{key} is a number from {kind.low} to {kind.high}, '{MAX}' for no limit, or "
                f"'{DEFAULT}' for what the configuration says."
            )
    return {key: value for key, value in values.items() if isinstance(value, int | str)}


def merged(before: Settings, asked: Settings) -> dict[str, int | str]:
    """What is set after `asked`."""
    return {key: value for key, value in {**before, **asked}.items() if value != DEFAULT}


def effective(*sources: ResourceLimits | Settings) -> dict[str, int]:
    """The limits that hold; later sources count more. What has no limit is left out."""
    limits: dict[str, int | str] = {}
    for source in sources:
        values = source.model_dump() if isinstance(source, ResourceLimits) else source
        limits |= {key: value for key, value in values.items() if value is not None}
    return {key: limits[key] for key in KINDS if isinstance(limits.get(key), int)}  # type: ignore[misc]


def lines(limits: Mapping[str, int]) -> Iterator[str]:
    """The settings of a unit file."""
    for key, value in limits.items():
        yield f"{KINDS[key].setting}={value}{KINDS[key].suffix}"


def properties(limits: Mapping[str, int]) -> list[tuple[str, int]]:
    """The properties of a unit that runs: all of them, so that what held before does no more."""
    return [
        (kind.property, limits[key] * kind.factor if key in limits else UNLIMITED)
        for key, kind in KINDS.items()
    ]
