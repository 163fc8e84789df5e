"""The user as whom journalctl reads the journal of an agent, if root asks.

An agent can put a link in the place of a file of its journal at any time, and journalctl follows
it. It also parses what the agent has written. So it runs with no more rights than the agent's
container has, and those of the group systemd-journal for the journal of the host.
"""

import grp
import os
from collections.abc import Iterable
from typing import Final, NamedTuple, Self

GROUP: Final = "systemd-journal"


class Reader(NamedTuple):
    """A user and the groups; None: those of this process."""

    user: int | None = None
    groups: list[int] | None = None

    @classmethod
    def of(cls, folders: Iterable[int]) -> Self:
        """Return the user for journals in these directories.

        Args:
            folders: descriptors of the directories. One that does not belong to root belongs to a
                user of the container.
        """
        owners = [os.fstat(folder).st_uid for folder in folders]
        theirs = [owner for owner in owners if owner != 0]
        if os.geteuid() != 0 or not theirs:
            return cls()
        try:
            return cls(theirs[0], [grp.getgrnam(GROUP).gr_gid])
        except KeyError:
            return cls(theirs[0], [])


UNCHANGED: Final = Reader()
"""The user of this process."""
