"""The program of Claude Code is found where the SDK brings it, and where it does not."""

import subprocess
import sys
from pathlib import Path

import claude_agent_sdk
import pytest

from harness.claude.program import INSTALLED, MissingProgramError, binary


@pytest.fixture
def sdk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of an SDK without the program."""
    folder = tmp_path / "claude_agent_sdk"
    folder.mkdir()
    monkeypatch.setattr(claude_agent_sdk, "__file__", str(folder / "__init__.py"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return folder


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_the_program_is_that_of_the_sdk_else_installed_else_on_path(
    sdk: Path, tmp_path: Path
) -> None:
    found = program(tmp_path / "bin/claude")
    assert binary(tmp_path) == found
    installed = program(tmp_path / INSTALLED)
    assert binary(tmp_path) == installed
    bundled = program(sdk / "_bundled/claude")
    assert binary(tmp_path) == bundled


def test_a_missing_program_is_told_with_its_places(sdk: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingProgramError) as told:
        binary(tmp_path)
    for words in (str(sdk / "_bundled/claude"), str(tmp_path / INSTALLED), "PATH", "Repeat it."):
        assert words in str(told.value)


def test_a_login_without_the_program_ends_with_that_sentence(tmp_path: Path) -> None:
    """In a process of its own, with an SDK that brings no program."""
    (tmp_path / "claude_agent_sdk").mkdir()
    (tmp_path / "claude_agent_sdk/__init__.py").touch()
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-B", "-m", "harness.login"],
        env={"PYTHONPATH": f"{tmp_path}:{root}", "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("There is no Claude Code: ")
    assert "Traceback" not in done.stderr
