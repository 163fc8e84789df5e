"""The README's drawing of the states is the table in the code."""

import re
from pathlib import Path

from services.approvals.model import TRANSITIONS

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_the_drawn_transitions_are_those_of_the_table() -> None:
    drawn = set(re.findall(r"^(\w+) -> (\w+) ", README, re.MULTILINE))
    assert drawn == {(str(old), str(new)) for old, states in TRANSITIONS.items() for new in states}
