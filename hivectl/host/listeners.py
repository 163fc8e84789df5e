"""The program that has the port of a socket unit."""

import asyncio
import subprocess
import sys
from typing import Final, NamedTuple

DASHBOARD: Final = "hive-dashboard.socket"
"""The unit that has the port of the dashboard."""


class Occupant(NamedTuple):
    """The program that keeps a socket unit from listening."""

    what: str
    """The sentence that names it."""
    remedy: str
    """The sentence that tells the operator what to do."""


async def occupant(unit: str) -> Occupant | None:
    """Return the program that keeps a socket unit from listening; None if there is none.

    Only root sees the programs of all users; for others the sentence has the user at least.
    """
    command = [sys.executable, "-P", "-m", "services.listeners", unit]
    try:
        asked = await asyncio.create_subprocess_exec(
            *command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    except OSError:
        return None
    said, _ = await asked.communicate()
    if asked.returncode != 0:
        return None
    what, _, remedy = said.decode(errors="replace").strip().partition("\n")
    return Occupant(what, remedy)
