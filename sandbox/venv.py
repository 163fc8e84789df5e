"""The repository's virtual environment: the locked dependencies and the installed package.

Each step writes a stamp when it is complete: a digest of what it was made from. A second run costs
nothing, and an interrupted step is repeated.
"""

import fcntl
import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sandbox.instance import SandboxError

PYTHON: Final = "/usr/bin/python3"
"""The distribution's Python: the containers see its prefix, /usr."""

OLDEST: Final = (3, 11)
_PACKAGES: Final = ("wire", "services", "harness", "hivectl")


def check_python() -> None:
    """Check the version of this Python.

    Raises:
        SandboxError: it is too old.
    """
    if sys.version_info < OLDEST:
        raise SandboxError(
            f"{PYTHON} is Python {sys.version_info[0]}.{sys.version_info[1]}; Hyperhive needs 3.11"
            " or newer (Debian 12, Ubuntu 24.04 and later have it)."
        )


def ensure(repo: Path, directory: Path) -> bool:
    """Make `directory` a venv with the locked dependencies and the package of `repo`.

    Returns:
        Whether the package has changed.

    Raises:
        SandboxError: pip failed, or this Python is too old.
    """
    check_python()
    with _exclusive(repo):
        _dependencies(repo / "requirements.lock", directory)
        return _package(repo, directory)


def _dependencies(lock: Path, directory: Path) -> None:
    stamp = directory / ".hyperhive-dependencies"
    wanted = _digest([lock])
    if _read(stamp) == wanted:
        return
    if not _runs_this_python(directory):
        print(f"  making a virtual environment in {directory}", flush=True)
        _check([PYTHON, "-m", "venv", "--clear", str(directory)])
    stamp.unlink(missing_ok=True)
    names = re.findall(r"^([A-Za-z0-9_.-]+)==", lock.read_text(), re.MULTILINE)
    print(f"  installing {len(names)} Python packages (minutes, the first time)", flush=True)
    _install(directory, len(names), "--require-hashes", "--requirement", str(lock))
    stamp.write_text(wanted)


def _package(repo: Path, directory: Path) -> bool:
    stamp = directory / ".hyperhive-package"
    wanted = _digest(_sources(repo))
    if _read(stamp) == wanted:
        return False
    print("  installing the hyperhive package", flush=True)
    stamp.unlink(missing_ok=True)
    options = ["--no-index", "--no-deps", "--no-build-isolation", "--force-reinstall"]
    _install(directory, 0, *options, str(repo))
    stamp.write_text(wanted)
    return True


def _sources(repo: Path) -> Iterator[Path]:
    yield from (repo / name for name in ("pyproject.toml", "README.md", "LICENSE"))
    for package in (*_PACKAGES, "docs"):
        for path in sorted((repo / package).rglob("*")):
            inside = path.relative_to(repo).parts
            if path.is_file() and not {"tests", "__pycache__"}.intersection(inside):
                yield path


def _install(directory: Path, expected: int, *arguments: str) -> None:
    """Run pip, and show its progress through `expected` packages unless that is 0."""
    pip = [str(directory / "bin/python"), "-m", "pip", "--disable-pip-version-check", "--no-input"]
    command = [*pip, "install", "--progress-bar=off", *arguments]
    output: list[str] = []
    found = 0
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
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
        tail = "\n  ".join(output[-15:])
        raise SandboxError(f"pip could not install {arguments[-1]}:\n  {tail}")


def _runs_this_python(directory: Path) -> bool:
    """Return whether there is a venv that this Python can run."""
    asked = "import sys, pip; print('%d.%d' % sys.version_info[:2])"
    try:
        answer = subprocess.run(
            [directory / "bin/python", "-c", asked], capture_output=True, text=True, check=False
        )
    except OSError:
        return False
    return answer.stdout.strip() == "{}.{}".format(*sys.version_info[:2])


def _digest(paths: Iterator[Path] | list[Path]) -> str:
    """Return a digest of the names and contents of `paths` and of the version of this Python."""
    digest = hashlib.sha256("{}.{}".format(*sys.version_info[:2]).encode())
    for path in paths:
        content = path.read_bytes() if path.exists() else b""
        digest.update(f"\0{path.name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _check(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SandboxError(f"`{' '.join(command)}` failed:\n{done.stdout}{done.stderr}")


@contextmanager
def _exclusive(repo: Path) -> Iterator[None]:
    """Hold a lock: two installations at once would leave a mixture of both."""
    lock = os.open(repo, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
