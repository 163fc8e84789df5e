"""A limit of a provider, as one harness has reported it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LimitReport:
    """The report that a credential has used up its limit. The attributes are the columns of its
    table; times are microseconds since 1970."""

    credential: str
    """The credential: agents with the same text share it."""
    agent: str
    until: int
    """The provider answers nothing before this time."""
    reported: int
    """When the agent reported this limit first."""
