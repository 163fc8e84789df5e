"""The pages: none is stale, roff accepts them, and the parts written by hand agree with hivectl."""

import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from hivectl import command_table
from hivectl.commands.approvals import DEPLOY_SECONDS
from hivectl.commands.project import FETCH_SECONDS
from hivectl.jobs import JOB_SECONDS
from man.pages import HERE, PAGES, render

names = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)


def test_each_source_is_a_page() -> None:
    assert [path.name for path in PAGES] == [
        *("agent.toml.5", "hivectl.1", "hyperhive.7", "hyperhive.toml.5")
    ]


@names
def test_no_page_is_stale(path: Path) -> None:
    assert path.read_text() == render(path), "run `make man`"


@names
@pytest.mark.skipif(not shutil.which("mandoc"), reason="mandoc is not installed")
def test_mandoc_finds_no_fault(path: Path) -> None:
    ran = subprocess.run(["mandoc", "-T", "lint", path], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, "")


@names
def test_other_pages_that_are_named_exist(path: Path) -> None:
    ours = re.findall(r"\\fB((?:hive|hyperhive|agent)[a-z.]*)\\fP\((\d)\)", path.read_text())
    assert ours
    for name, section in ours:
        assert (HERE / f"{name}.{section}").is_file()


@names
def test_each_page_is_installed(path: Path) -> None:
    section = path.suffix.removeprefix(".")
    line = f'"man/{path.name}" = "share/man/man{section}/{path.name}"'
    assert line in (HERE.parent / "pyproject.toml").read_text()
    installer = (HERE.parent / "installer/files.py").read_text()
    assert re.search(rf"for n in \(.*{section}.*\)", installer)


def taking(option: str) -> set[str]:
    """The commands of hivectl that take an option; a group if all of its commands do."""
    return {
        command.name or ""
        for commands in command_table.sections().values()
        for command in commands
        if _takes(command, option)
    }


def members_taking(option: str) -> set[str]:
    """The commands of groups that take an option, each with the name of its group."""
    return {
        f"{group.name} {member.name}"
        for commands in command_table.sections().values()
        for group in commands
        if isinstance(group, click.Group)
        for member in group.commands.values()
        if _takes(member, option)
    }


def _takes(command: click.Command, option: str) -> bool:
    if isinstance(command, click.Group):
        return all(_takes(member, option) for member in command.commands.values())
    return any(option in p.opts for p in command.params if isinstance(p, click.Option))


def test_the_shared_options_are_described_as_they_are() -> None:
    source = (HERE / "hivectl.1.md").read_text()
    [listed] = re.findall(r"next: (.*)\.\n", source)
    [fetching] = re.findall(r"that fetch take them, too: (.*)\.\n", source)
    for option in ("--no-wait", "--timeout"):
        assert set(re.findall(r"\*\*([a-z-]+)\*\*", listed)) == taking(option)
        assert set(re.findall(r"\*\*([a-z -]+)\*\*", fetching)) == members_taking(option)
    assert set(command_table.names()) - taking("--json") == {"completion", "help", "shell", "exec"}
    assert set(command_table.names()) - taking("-o") == {"completion", "help", "shell", "exec"}
    assert f"default is {JOB_SECONDS}, with **edit** and **approve** {DEPLOY_SECONDS}" in source
    assert f"with the commands that fetch {FETCH_SECONDS}." in source
