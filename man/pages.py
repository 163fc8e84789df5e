"""The manual pages: each is made of a source in Markdown beside it, and of generated parts."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from man.commands import commands, exit_codes
from man.roff import page
from man.settings import settings
from services.agentfile import AgentFile
from services.config import Config

HERE: Final = Path(__file__).parent
PAGES: Final = sorted(path.with_suffix("") for path in HERE.glob("*.[1-9].md"))

PARTS: Final[dict[str, Callable[[], str]]] = {
    "commands": commands,
    "exit-codes": exit_codes,
    "hyperhive.toml": lambda: settings(Config),
    "agent.toml": lambda: settings(AgentFile),
}


def render(path: Path) -> str:
    """Return the page at `path`, made anew."""
    markdown = path.with_name(f"{path.name}.md").read_text()
    for name, part in PARTS.items():
        placeholder = f"{{{{{name}}}}}"
        if placeholder in markdown:
            markdown = markdown.replace(placeholder, part())
    return page(markdown, _version())


def _version() -> str:
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text())
    return str(project["project"]["version"])
