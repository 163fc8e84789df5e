"""Words that are written down on both sides of a border that no import crosses."""

import re
from pathlib import Path

from harness.claude import choices, process
from wire import names, steering
from wire.agent_web import records

REPO = Path(__file__).parents[1]
PROMPT = REPO / "services/dashboard/static/prompt.js"


def test_the_harness_takes_the_same_levels_of_effort() -> None:
    assert choices.EFFORTS == steering.EFFORTS


def test_the_harness_names_the_tools_of_the_hive_as_the_host_does() -> None:
    assert f"mcp__{process.HIVE_SERVER}__" == names.OWN_TOOLS


def test_the_page_has_the_same_words() -> None:
    script = PROMPT.read_text(encoding="utf-8")
    [levels] = re.findall(r"const LEVELS = \[(.*)\];", script)
    assert tuple(re.findall(r'"([^"]+)"', levels)) == steering.EFFORTS
    assert f'const DEFAULT = "{steering.DEFAULT}";' in script
    found = re.findall(r'name: "([^"]+)",(?: argument: "([^"]+)",)? hint: "([^"]+)"', script)
    page = {name: steering.SlashCommand(argument, hint) for name, argument, hint in found}
    del page["help"], page["clear"]
    assert page == steering.SLASH_COMMANDS


def test_the_types_of_events_are_documented() -> None:
    page = (REPO / "docs/persistence.md").read_text(encoding="utf-8")
    table = page.partition("## What an agent did")[2].partition("`hyperhive-turn-stats.sqlite`")[0]
    cells = re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE)
    documented = [name for cell in cells for name in re.findall(r"`([a-z-]+)`", cell)]
    assert sorted(documented) == sorted(records.DATA)
