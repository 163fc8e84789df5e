"""System tests and long tests run only when they are asked for."""

import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
FILE = "tests/system/test_containers.py"
"""A file with system tests, some of them long."""


def selected(*options: str) -> set[str]:
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider"]
    ran = subprocess.run(
        [*command, *options, FILE], cwd=REPO, capture_output=True, text=True, check=False
    )
    assert ran.returncode in (0, 5), ran.stdout + ran.stderr
    return {line.partition("::")[2] for line in ran.stdout.splitlines() if line.startswith(FILE)}


@pytest.fixture(scope="module")
def long() -> set[str]:
    return selected("-m", "long")


@pytest.mark.long
def test_no_system_test_runs_unasked() -> None:
    assert selected() == set()


def test_system_tests_run_without_the_long_ones(long: set[str]) -> None:
    system = selected("-m", "system")
    assert system
    assert not system & long


def test_long_tests_run_though_they_are_system_tests(long: set[str]) -> None:
    assert long
