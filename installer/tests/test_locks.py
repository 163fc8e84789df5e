"""The locks: the packages of an installation are those that the hive imports, and no others."""

import importlib.metadata
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from installer.environment import RUNTIME, TOOLS
from installer.pip import locked

REPO = Path(__file__).parents[2]
ALL = "requirements.lock"


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def versions(lock: str) -> dict[str, str]:
    return {normal(n): v for n, _, v in (line.partition("==") for line in locked(REPO / lock))}


def closure(requirements: list[str]) -> set[str]:
    """Return the names of all packages that some requirements need."""
    found: set[str] = set()
    done: set[tuple[str, str]] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        one = waiting.pop()
        found.add(normal(one.name))
        for extra in ("", *one.extras):
            if (one.name, extra) not in done:
                done.add((one.name, extra))
                for needed in map(Requirement, importlib.metadata.requires(one.name) or ()):
                    if not needed.marker or needed.marker.evaluate({"extra": extra}):
                        waiting.append(needed)
    return found


def test_an_installation_has_what_the_hive_imports_and_nothing_else() -> None:
    project: dict[str, Any] = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert set(versions(RUNTIME)) == closure([*extras["host"], *extras["harness"]])


@pytest.mark.parametrize("lock", [RUNTIME, TOOLS])
def test_the_tests_run_with_the_versions_of_an_installation(lock: str) -> None:
    tested = versions(ALL)
    ours = {name: version for name, version in versions(lock).items() if name in tested}
    assert ours
    assert ours.items() <= tested.items()


@pytest.mark.parametrize("lock", [ALL, RUNTIME, TOOLS])
def test_a_lock_holds_hashes_and_names_no_index(lock: str) -> None:
    text = (REPO / lock).read_text()
    assert text.count("--hash=sha256:") >= len(versions(lock)) > 0
    assert "index-url" not in "\n".join(line for line in text.splitlines() if line[:1] != "#")
