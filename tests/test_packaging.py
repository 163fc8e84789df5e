"""The wheel installs every unit, policy and manual page of the repository."""

import tomllib
from pathlib import Path
from typing import Final

REPO: Final = Path(__file__).parents[1]
ROOMS: Final = ("harness", "man", "services")
INSTALLED: Final = frozenset({
    ".conf", ".mount", ".service", ".sh", ".slice", ".socket", ".target", ".timer",
    ".1", ".5", ".7",
})  # fmt: skip


def test_every_file_for_the_host_is_installed() -> None:
    project = tomllib.loads((REPO / "pyproject.toml").read_text())
    data = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    files = {
        str(path.relative_to(REPO))
        for room in ROOMS
        for path in (REPO / room).rglob("*")
        if path.suffix in INSTALLED and "tests" not in path.parts
    }
    assert files == set(data) - {"docs", "installer/upgrade.py", "man/hyperhive.toml"}
    assert len(set(data.values())) == len(data)
