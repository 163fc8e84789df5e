"""The README's diagrams are the tables in the code, and it names every module."""

import re
from pathlib import Path

from services.approvals import model
from services.approvals.deploys import deployment

ROOM = Path(__file__).parents[1]
README = (ROOM / "README.md").read_text()


def test_the_transitions_are_those_of_the_tables() -> None:
    drawn = set(re.findall(r"^(\w+) +-> (\w+) ", README, re.MULTILINE))
    requests = {(str(old), str(new)) for old, to in model.TRANSITIONS.items() for new in to}
    deploys = {(str(old), str(new)) for old, to in deployment.TRANSITIONS.items() for new in to}
    assert drawn == requests | deploys


def test_every_module_is_named() -> None:
    modules = {str(path.relative_to(ROOM)) for path in ROOM.glob("**/*.py")}
    named = set(re.findall(r"^\|? ?`([\w/]+\.py)`", README, re.MULTILINE)) | {"options.py"}
    ours = {m for m in modules if not m.startswith("tests/") and not m.endswith("__init__.py")}
    assert ours - {"deploys/lifecycle.py", "git/protocols.py"} == named
