"""The program that has the port of a socket unit."""

import asyncio
import subprocess
import sys


async def occupant(unit: str) -> str:
    """Return a sentence about the program that keeps a socket unit from listening, or nothing.

    Only root sees the programs of all users; for others the sentence has the user at least.
    """
    command = [sys.executable, "-P", "-m", "services.listeners", unit]
    try:
        asked = await asyncio.create_subprocess_exec(
            *command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    except OSError:
        return ""
    said, _ = await asked.communicate()
    return said.decode(errors="replace").strip()
