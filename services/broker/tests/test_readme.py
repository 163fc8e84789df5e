"""The room's page tells the truth about states and callers."""

import re
from pathlib import Path

from services.broker.interface import Broker1
from services.broker.message import TRANSITIONS

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_the_diagram_is_the_table() -> None:
    drawn = set(re.findall(r"^(\w+) -> (\w+) ", README, re.MULTILINE))
    assert drawn == {(str(a), str(b)) for a, ends in TRANSITIONS.items() for b in ends}


def test_every_method_is_in_the_table_of_callers() -> None:
    table = "\n".join(line for line in README.splitlines() if line.startswith("|"))
    for name in Broker1.methods:
        assert f"`{name}`" in table
