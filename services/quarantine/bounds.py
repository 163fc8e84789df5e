"""The bounds within which commits are taken from hostile repositories."""

from typing import Final, NamedTuple

from services.quarantine import runner
from services.quarantine.runner import HOSTILE, Limits


class Bounds(NamedTuple):
    """The bounds of one use of the quarantine; the defaults suit the configurations of agents."""

    files: int = 20_000
    """Entries in the directories of objects."""
    packs: int = 50
    size: int = 64 * 2**20
    """Bytes of all files together."""
    unpacked: int = 256 * 2**20
    """Bytes of all single objects together, unpacked."""
    single: int = 10 * 2**20
    """Bytes of one single object, unpacked; a larger one is left out."""
    new: int = 20 * 2**20
    """Bytes that one commit may add with its history, compressed."""
    new_objects: int = 20_000
    """Objects that one commit may add: git keeps some bytes in memory for each, and has a limit."""
    seconds: float = 60.0
    """Seconds that all of it may take."""
    step_seconds: float = runner.SECONDS
    """Seconds that each git may take."""
    limits: Limits = HOSTILE
    """The limits of each git."""


DEFAULT: Final = Bounds()
