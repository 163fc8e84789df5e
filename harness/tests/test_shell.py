"""The scripts that start commands and servers, run by the shells of this machine."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.claude import shell

SHELLS = [[path] for name in ("dash", "bash") if (path := shutil.which(name))]
SHELLS += [[path, "--posix"] for name in ("bash",) if (path := shutil.which(name))]

AWKWARD = {
    "GREETING": "hello",
    "QUOTED": 'it\'s "$HOME" `id` $(id) \\ ${GREETING}',
    "LINES": "one\n  two\t\n",
    "LETTERS": "aāéß…💥",
    "EMPTY": "",
}
KEPT = {"UID": "7", "PPID": "x", "SHELLOPTS": "xtrace", "BASHOPTS": "x", "OPTIND": "x"}
"""Variables that some shells keep to themselves."""

DISTURBING = {"PATH": "/nowhere", "IFS": "e", "ENV": "/nowhere", "PS4": "$(echo >&2)"}


def run(command: list[str], **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )


def variables(text: str) -> dict[str, str]:
    return dict(entry.split("=", 1) for entry in text.split("\0") if entry)


@pytest.mark.parametrize("interpreter", SHELLS, ids=" ".join)
def test_a_command_has_the_variables(tmp_path: Path, interpreter: list[str]) -> None:
    file, script = tmp_path / "it's variables", tmp_path / "bash"
    wanted = KEPT | DISTURBING | AWKWARD
    file.write_text(shell.assignments(wanted))
    script.write_text(shell.command_shell(shutil.which("bash") or "", file, Path("/nowhere")))
    show = f'echo "$0 $1"; exec {shutil.which("env")} -0'
    done = run([*interpreter, str(script), "-c", show, "zero", "one two"], GREETING="other")
    head, _, rest = done.stdout.partition("\n")
    assert head == "zero one two"
    found = variables(rest)
    assert {name: found.get(name) for name in AWKWARD} == AWKWARD
    assert found["PATH"] == "/nowhere"
    if "dash" in interpreter[0]:
        assert "xtrace" in found["SHELLOPTS"]
    else:
        assert done.stderr == ""


@pytest.mark.parametrize("interpreter", SHELLS, ids=" ".join)
def test_a_server_has_the_variables_and_its_own(tmp_path: Path, interpreter: list[str]) -> None:
    file, script = tmp_path / "variables", tmp_path / "server"
    file.write_text(shell.assignments(KEPT | AWKWARD))
    server = {
        "command": "env",
        "args": ["sh", "-c", 'printf "%s\\n" "$@"; env -0', "x", "${API_KEY}", "it's"],
        "env": {"GREETING": "good morning", "OWN": "${API_KEY}"},
    }
    script.write_text(shell.server_script(server, file))
    done = run([*interpreter, str(script)], API_KEY="secret")
    first, second, rest = done.stdout.split("\n", 2)
    assert (first, second) == ("${API_KEY}", "it's")
    found = variables(rest)
    assert {name: found.get(name) for name in AWKWARD} == AWKWARD | {"GREETING": "good morning"}
    assert found["OWN"] == "${API_KEY}"


def test_a_server_may_have_a_command_alone(tmp_path: Path) -> None:
    file, script = tmp_path / "variables", tmp_path / "server"
    file.write_text(shell.assignments({}))
    script.write_text(shell.server_script({"command": "true"}, file))
    assert run(["sh", str(script)]).stdout == ""
