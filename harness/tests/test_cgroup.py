"""The group of a turn's commands, in a real control group if this machine allows one."""

import os
import select
import subprocess
from pathlib import Path

import pytest

from harness.claude import shell
from harness.claude.cgroup import Cgroup


def made(path: Path, tmp_path: Path) -> Cgroup | None:
    own = tmp_path / "cgroup"
    own.write_text(f"1:name=systemd:/elsewhere\n0::/{path.name}\n")
    return Cgroup.create(path.parent, "turn", own)


def test_what_was_left_running_is_killed(group: Path, tmp_path: Path) -> None:
    commands = made(group, tmp_path)
    assert commands is not None
    commands.kill()  # nothing to do
    command = [
        *command_shell(tmp_path, commands.path),
        "setsid sleep 1000 > /dev/null 2>&1 & echo $!",
    ]
    pid = int(subprocess.run(command, capture_output=True, check=True).stdout)
    process = os.pidfd_open(pid)
    assert select.select([process], [], [], 0)[0] == []
    commands.kill()
    assert select.select([process], [], [], 20)[0] == [process]
    os.close(process)


@pytest.mark.parametrize("lines", ["0::/here\n", "1:name=systemd:/here\n", "0::/nowhere\n"])
def test_where_no_group_can_be_made_there_is_none(tmp_path: Path, lines: str) -> None:
    (tmp_path / "here").mkdir()
    own = tmp_path / "cgroup"
    own.write_text(lines)
    assert Cgroup.create(tmp_path, "turn", own) is None
    assert list((tmp_path / "here").iterdir()) == []


@pytest.mark.parametrize("group", [None, Path("/nowhere")])
def test_without_a_group_the_shell_is_bash(tmp_path: Path, group: Path | None) -> None:
    command = [*command_shell(tmp_path, group), 'echo "$BASH_VERSION" "$0" "$1"', "zero", "one two"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.endswith(" zero one two\n")
    assert done.stdout[0].isdigit()
    assert done.stderr == ""


def command_shell(folder: Path, group: Path | None) -> list[str]:
    """Write the shell of commands to `folder`, and return the beginning of a command line."""
    script, variables = folder / "bash", folder / "variables"
    variables.write_text(shell.assignments({}))
    script.write_text(shell.command_shell("/bin/bash", variables, group))
    script.chmod(0o700)
    return [str(script), "-c"]
