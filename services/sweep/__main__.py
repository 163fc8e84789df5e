"""`python -m services.sweep`: delete old events and turns of agents; README.md says how."""

import sys
from pathlib import Path
from typing import Final

from services.sweep.agents import Sweeper

AGENTS: Final = Path("/var/lib/hyperhive/agents")
WARNING, INFO = 4, 6
"""Priorities of the journal."""


def main() -> int:
    """Sweep the files of all agents; return the exit status."""
    failed = False
    for name, report in Sweeper(AGENTS).run():
        failed = failed or report.failed
        priority = WARNING if report.left_alone or report.failed else INFO
        for line in report.lines:
            # This unit has no sockets, not even that of the journal.
            sys.stderr.write(f"<{priority}>{name}: {line}\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
