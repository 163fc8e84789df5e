"""The completion of names and IDs, also in real shells."""

import asyncio
import os
import pty
import select
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from hivectl.exit_codes import Exit
from hivectl.tests.conftest import Hivectl
from hivectl.tests.fake_hive import FakeHive

TIME_LIMIT = 30.0
READY = "READY> "


def asked(words: str) -> dict[str, str]:
    """Return the variables by which bash asks for the completion of a line."""
    return {
        "_HIVECTL_COMPLETE": "bash_complete",
        "COMP_WORDS": f"hivectl {words}",
        "COMP_CWORD": str(words.count(" ") + 1),
    }


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("start b", "bob-2"),
        ("approve ", "7"),
        ("purge ", "carol"),
        ("spawn c", "carol"),
        ("limits alice memory", "memory_high= memory_max="),
        ("limits alice memory_max=", "memory_max="),
        ("limits alice memory_max =", ""),
        ("help deploy", "deploy-log"),
        ("unsend ", "1"),
    ],
)
async def test_names_and_ids(hive: FakeHive, hivectl: Hivectl, words: str, offered: str) -> None:
    hive.broker.queue("operator", "hello", to="alice")
    ran = await hivectl(**asked(words))
    assert ran.out.split() == [f"plain,{one}" for one in offered.split()]


async def test_completion_is_silent_without_a_hive(hivectl: Hivectl) -> None:
    ran = await hivectl(**asked("start "))
    assert (ran.out.strip(), ran.err) == ("", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_completion_scripts_are_printed(hivectl: Hivectl, shell: str) -> None:
    ran = await hivectl("completion", shell)
    assert ran.code == Exit.OK
    assert f"_HIVECTL_COMPLETE={shell}_complete" in ran.out


def needs(shell: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(shell) is None, reason=f"{shell} is not installed")


@pytest.fixture
def shell_environment(tmp_path: Path, environment: dict[str, str]) -> dict[str, str]:
    """Return an environment whose `hivectl` is the one under test."""
    program = tmp_path / "bin/hivectl"
    program.parent.mkdir()
    root = Path(__file__).parents[2]
    program.write_text(f'#!/bin/sh\nPYTHONPATH={root} exec {sys.executable} -m hivectl "$@"\n')
    program.chmod(0o755)
    path = f"{program.parent}:{environment['PATH']}"
    return environment | {"PATH": path, "HOME": str(tmp_path), "TERM": "dumb", "COLUMNS": "200"}


async def test_no_file_takes_the_place_of_a_value(
    hivectl: Hivectl, environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "1:443").touch()
    (tmp_path / "hivectl").write_text("#!/bin/sh\necho 'plain,[2001:db8::1]:443'\n")
    (tmp_path / "hivectl").chmod(0o755)
    loaded = (await hivectl("completion", "bash")).out
    asks = "COMP_WORDS=(hivectl allow ''); COMP_CWORD=2; _hivectl_completion ./hivectl"
    script = f'{loaded}{asks}; echo $- "${{COMPREPLY[@]}}"'
    process = await asyncio.create_subprocess_exec(
        *("bash", "--norc", "--noprofile", "-c", script),
        cwd=tmp_path,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
    )
    options, completed = (await process.communicate())[0].decode().split()
    assert completed == "[2001:db8::1]:443"
    assert "f" not in options  # as the shell was before


START = {
    "bash": (
        ("bash", "--norc", "--noprofile", "-i"),
        "bind 'set bell-style none'; source <(hivectl completion bash)",
        "PS1",
    ),
    "zsh": (
        ("zsh", "-f", "-i"),
        "autoload -U compinit; compinit -u -D; source <(hivectl completion zsh)",
        "PROMPT",
    ),
}
"""How a shell starts, loads the completion, and names its prompt."""


@pytest.mark.parametrize("shell", [pytest.param(name, marks=needs(name)) for name in START])
@pytest.mark.parametrize(
    ("typed", "completed"), [("start b", "start bob-2 "), ("limits alice cpu_q", "cpu_quota=")]
)
async def test_a_tab_completes(
    hive: FakeHive, shell_environment: dict[str, str], shell: str, typed: str, completed: str
) -> None:
    command, load, prompt = START[shell]
    # The terminal echoes this line: it must not look like the prompt.
    script = f"{load}; {prompt}='{READY[:2]}''{READY[2:]}'\n"
    shown = await asyncio.to_thread(
        on_terminal,
        command,
        shell_environment,
        [(READY, f"hivectl {typed}\t"), (completed, "\x15exit\n")],
        script,
    )
    assert completed in shown


@needs("fish")
@pytest.mark.parametrize(
    ("typed", "completed"), [("start b", "bob-2"), ("limits alice cpu_q", "cpu_quota=")]
)
async def test_fish_completes(
    hive: FakeHive, shell_environment: dict[str, str], typed: str, completed: str
) -> None:
    script = f'hivectl completion fish | source; complete -C "hivectl {typed}"'
    process = await asyncio.create_subprocess_exec(
        *("fish", "--no-config", "-c", script),
        env=shell_environment,
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(TIME_LIMIT):
        printed, _ = await process.communicate()
    assert [line.partition("\t")[0] for line in printed.decode().splitlines()] == [completed]


def on_terminal(
    command: tuple[str, ...],
    environment: dict[str, str],
    answers: list[tuple[str, str]],
    first: str,
) -> str:
    """Run a program on a terminal; type `first`, and each answer when its words are shown."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(command[0], command, environment)
    shown, looked, end = "", 0, time.monotonic() + TIME_LIMIT
    os.write(terminal, first.encode())
    try:
        while select.select([terminal], [], [], max(end - time.monotonic(), 0))[0]:
            try:
                shown += os.read(terminal, 65536).decode(errors="replace")
            except OSError:  # at its end
                break
            while answers and (found := shown.find(answers[0][0], looked)) >= 0:
                words, answer = answers.pop(0)
                looked = found + len(words)
                os.write(terminal, answer.encode())
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)
    return shown
