"""The limits on an agent's use of the host: as configured, and as the operator has set them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from services.config import ResourceLimits
from wire.errors import InvalidArgument
from wire.records.lifecycle import ResourceChanges, Resources

UNLIMITED: Final = 2**64 - 1
"""systemd's value for no limit."""

DEFAULT: Final = "default"
"""Removes the operator's setting, so that the configuration applies."""
MAX: Final = "max"
"""No limit, whatever the configuration says."""

Settings = Mapping[str, int | str]
"""The operator's settings: each a number, or MAX."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One resource: its property in systemd, its setting in a unit file, and its bounds.

    systemd does not limit a resource without a property: `watch/disk.py` does.
    """

    property: str
    setting: str
    low: int
    high: int
    suffix: str = ""
    factor: int = 1
    """The factor from our unit to the unit of the property."""

    def bounds(self) -> str:
        """Return the bounds, as a part of a sentence; those in bytes also as people write them."""
        if self.low < 2**20:
            return f"from {self.low} to {self.high}"
        low, high = self.low // 2**20, self.high // 2**40
        return f"of bytes from {self.low} ({low}M) to {self.high} ({high}T)"


KINDS: Final[Mapping[str, Kind]] = {
    "memory_high": Kind("MemoryHigh", "MemoryHigh", 16 * 2**20, 2**60),
    "memory_max": Kind("MemoryMax", "MemoryMax", 16 * 2**20, 2**60),
    "cpu_weight": Kind("CPUWeight", "CPUWeight", 1, 10_000),
    # Percent of one processor; systemd counts microseconds in a second.
    "cpu_quota": Kind("CPUQuotaPerSecUSec", "CPUQuota", 1, 100_000, "%", 10_000),
    "tasks_max": Kind("TasksMax", "TasksMax", 64, 4_000_000),
    "io_weight": Kind("IOWeight", "IOWeight", 1, 10_000),
    "disk_max": Kind("", "", 16 * 2**20, 2**60),
}
"""The resources, by the fields of their records. Memory and disk space are in bytes."""


def checked(changes: ResourceChanges) -> dict[str, int | str]:
    """Return the changes that SetResources asks for: numbers, MAX or DEFAULT.

    Raises:
        InvalidArgument: a value is out of bounds.
    """
    values = {key: value for key, value in changes._asdict().items() if value is not None}
    for key, value in values.items():
        kind = KINDS[key]
        if not (
            value in (MAX, DEFAULT) if isinstance(value, str) else kind.low <= value <= kind.high
        ):
            raise InvalidArgument(
                f"{value!r:.40} is not a valid {key}. Use a number {kind.bounds()}, "
                f"'{MAX}' for no limit, or '{DEFAULT}' for the configured value."
            )
    return values


def merged(before: Settings, asked: Settings) -> dict[str, int | str]:
    """Return the settings after the request `asked`."""
    return {key: value for key, value in {**before, **asked}.items() if value != DEFAULT}


def effective(*sources: ResourceLimits | Settings) -> Resources:
    """Return the limits that apply; later sources take precedence."""
    limits: dict[str, int | str] = {}
    for source in sources:
        values = source.model_dump() if isinstance(source, ResourceLimits) else source
        limits |= {key: value for key, value in values.items() if value is not None}
    return Resources(**{key: value for key, value in limits.items() if isinstance(value, int)})


def lines(limits: Resources) -> Iterator[str]:
    """Yield the settings of a unit file."""
    for key, value in limits._asdict().items():
        if value is not None and KINDS[key].setting:
            yield f"{KINDS[key].setting}={value}{KINDS[key].suffix}"


def properties(limits: Resources) -> list[tuple[str, int]]:
    """Return the properties of a running unit: all of them, so that earlier limits are lifted."""
    return [
        (KINDS[key].property, UNLIMITED if value is None else value * KINDS[key].factor)
        for key, value in limits._asdict().items()
        if KINDS[key].property
    ]
