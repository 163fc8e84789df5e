"""The crashes of a container in a row, which show whether it crashes again and again."""

from collections.abc import Mapping
from dataclasses import dataclass

from wire.records.lifecycle import CRASHES_IN_A_ROW_US


@dataclass(frozen=True, slots=True)
class Crashes:
    """The crashes since the last job, each soon after the one before."""

    times: int = 0
    last: int = 0
    """The time of the last one, in microseconds since 1970."""

    def another(self, now: int) -> "Crashes":
        """Return them with a crash now."""
        again = now - self.last < CRASHES_IN_A_ROW_US
        return Crashes(self.times + 1 if again else 1, now)

    def values(self) -> dict[str, int | str]:
        """Return them as stored."""
        return {"times": self.times, "last": self.last}

    @classmethod
    def of(cls, values: Mapping[str, int | str]) -> "Crashes":
        """Return them as `values` stored them; none if there are no values."""
        return cls(int(values.get("times", 0)), int(values.get("last", 0)))
