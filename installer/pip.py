"""pip, which shows its progress, and virtual environments of the distribution's Python."""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from installer.errors import InstallError

PYTHON: Final = "/usr/bin/python3"
"""The distribution's Python: the containers see its prefix, /usr."""

OLDEST: Final = (3, 11)


def check_python() -> None:
    """Check the version of this Python.

    Raises:
        InstallError: it is too old.
    """
    if sys.version_info < OLDEST:
        raise InstallError(
            f"{PYTHON} is Python {sys.version_info[0]}.{sys.version_info[1]}; Hyperhive needs 3.11"
            " or newer (Debian 12, Ubuntu 24.04 and later have it)."
        )


def make_venv(directory: Path, *options: str) -> None:
    """Make a virtual environment in `directory`, which is emptied first.

    Raises:
        InstallError: it could not be made.
    """
    command = [PYTHON, "-m", "venv", "--clear", *options, str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise InstallError(f"`{' '.join(command)}` failed:\n{done.stdout}{done.stderr}")


def runs_this_python(directory: Path, *modules: str) -> bool:
    """Return whether `directory` is a venv that this Python can run, and that has `modules`."""
    asked = f"import {','.join(('sys', *modules))}; print('%d.%d' % sys.version_info[:2])"
    try:
        answer = subprocess.run(
            [directory / "bin/python", "-c", asked], capture_output=True, text=True, check=False
        )
    except OSError:
        return False
    return answer.stdout.strip() == "{}.{}".format(*sys.version_info[:2])


def locked(lock: Path) -> list[str]:
    """Return the packages of a lock, each as `name==version`."""
    return re.findall(r"^([A-Za-z0-9_.-]+==[^\s;\\]+)", lock.read_text(), re.MULTILINE)


def pip(environment: Path, *arguments: str, expected: int = 0) -> None:
    """Run the pip of `environment`, and show its progress through `expected` packages.

    Args:
        environment: a venv.
        arguments: the arguments of pip.
        expected: the number of packages; 0 shows no progress.

    Raises:
        InstallError: pip failed; the text has the end of its output.
    """
    options = ["--disable-pip-version-check", "--no-input"]
    command = [str(environment / "bin/python"), "-m", "pip", *options, *arguments]
    output: list[str] = []
    found = 0
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as running:
        assert running.stdout is not None  # noqa: S101 - that is what PIPE means
        for line in running.stdout:
            output.append(line.rstrip())
            if expected and line.startswith(("Collecting ", "Processing ")):
                found += 1
                # For a wheel that was found on the disk, pip prints its path.
                name = line.split()[1].rpartition("/")[2]
                print(f"    {found}/{expected} {name}", flush=True)
            elif expected and line.startswith("Installing collected"):
                print("    unpacking", flush=True)
    if running.returncode != 0:
        raise InstallError(
            "pip failed. If the network or a proxy is the reason, correct that, and run the same"
            f" command again:\n  {_tail(output)}"
        )


def _tail(output: Sequence[str]) -> str:
    return "\n  ".join(output[-15:])
