"""Words that are written down on both sides of a border that no import crosses."""

import re
from pathlib import Path

from harness.claude import choices, process
from wire import names, steering

PROMPT = Path(__file__).parents[1] / "services/dashboard/static/prompt.js"


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
