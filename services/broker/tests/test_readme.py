"""The README of the room agrees with the code about states and callers."""

import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from services.broker.interface import Broker1
from services.broker.messages import message
from services.broker.questions import question
from services.broker.reminders import reminder

README = (Path(__file__).parents[1] / "README.md").read_text()


@pytest.mark.parametrize(
    ("section", "table"),
    [
        ("The states of a message", message.TRANSITIONS),
        ("Questions", question.TRANSITIONS),
        ("Reminders", reminder.TRANSITIONS),
    ],
)
def test_the_diagram_is_the_table(section: str, table: Mapping[StrEnum, Any]) -> None:
    _, _, text = README.partition(f"\n## {section}\n")
    drawn = set(re.findall(r"^(\w+) -> (\w+) ", text.split("\n## ")[0], re.MULTILINE))
    assert drawn == {(str(a), str(b)) for a, ends in table.items() for b in ends}


def test_every_method_is_in_the_table_of_callers() -> None:
    table = "\n".join(line for line in README.splitlines() if line.startswith("|"))
    for name in Broker1.methods:
        assert f"`{name}`" in table
