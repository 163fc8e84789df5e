"""The repository's virtual environment: the locked dependencies and the installed package.

Each step writes a stamp when it is complete: a digest of what it was made from. A second run costs
nothing, and an interrupted step is repeated.
"""

import fcntl
import os
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from installer import stamps
from installer.pip import check_python, locked, make_venv, pip, runs_this_python


def ensure(repo: Path, directory: Path) -> bool:
    """Make `directory` a venv with the locked dependencies and the package of `repo`.

    Returns:
        Whether the package has changed.

    Raises:
        InstallError: pip failed, or this Python is too old.
    """
    check_python()
    with _exclusive(repo):
        _dependencies(repo / "requirements.lock", directory)
        changed = _package(repo, directory)
        _open_to_all(directory)
        return changed


def _dependencies(lock: Path, directory: Path) -> None:
    stamp = directory / ".hyperhive-dependencies"
    wanted = stamps.digest([lock])
    if stamps.read(stamp) == wanted:
        return
    if not runs_this_python(directory, "pip"):
        print(f"  making a virtual environment in {directory}", flush=True)
        make_venv(directory)
    stamp.unlink(missing_ok=True)
    number = len(locked(lock))
    print(f"  installing {number} Python packages (minutes, the first time)", flush=True)
    options = ["--require-hashes", "--requirement", str(lock)]
    pip(directory, "install", "--progress-bar=off", *options, expected=number)
    stamp.write_text(wanted)


def _package(repo: Path, directory: Path) -> bool:
    stamp = directory / ".hyperhive-package"
    wanted = stamps.digest(stamps.sources(repo))
    if stamps.read(stamp) == wanted:
        return False
    print("  installing the hyperhive package", flush=True)
    stamp.unlink(missing_ok=True)
    options = ["--no-index", "--no-deps", "--no-build-isolation", "--force-reinstall"]
    pip(directory, "install", "--progress-bar=off", *options, str(repo))
    stamp.write_text(wanted)
    return True


def _open_to_all(directory: Path) -> None:
    """Let all users read the venv: services run from it, and the umask may have been another."""
    if stat.S_IMODE(directory.stat().st_mode) & 0o055 != 0o055:
        subprocess.run(["chmod", "-R", "u=rwX,go=rX", str(directory)], check=True)


@contextmanager
def _exclusive(repo: Path) -> Iterator[None]:
    """Hold a lock: two installations at once would leave a mixture of both."""
    lock = os.open(repo, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
