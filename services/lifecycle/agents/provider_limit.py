"""A limit of a provider, as one harness has reported it."""

from dataclasses import dataclass
from typing import Final

SECOND: Final = 1_000_000
TRIAL: Final = 600 * SECOND
"""How long other agents wait for a limit that only one agent has reported."""
NEVER: Final = 1 << 62
"""A time that no limit has."""


@dataclass(frozen=True)
class LimitReport:
    """The report that a credential has used up its limit. The attributes are the columns of its
    table, but for `trial_until`; times are microseconds since 1970."""

    credential: str
    """The credential: agents with the same text share it."""
    agent: str
    until: int
    """The provider answers nothing before this time."""
    reported: int
    """When the agent reported this limit first."""
    trial_until: int = NEVER
    """The end of the trial that an earlier report of the same limit has begun."""

    @property
    def trial(self) -> int:
        """Until when the other agents wait for this report alone."""
        return min(self.until, self.reported + TRIAL, self.trial_until)
