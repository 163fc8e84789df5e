"""The word that somebody meant who typed another one."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

LIKENESS: Final = 0.6
"""How alike two words are, from 0 to 1, of which one may be meant by the other."""


def hint(typed: str, known: Iterable[str]) -> str:
    """Return a sentence that names the word that was meant, after a space; empty for none."""
    found = get_close_matches(typed[:64], list(known), n=1, cutoff=LIKENESS)
    return f" Did you mean {found[0]}?" if found else ""
