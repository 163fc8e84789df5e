"""The MCP inspector, a program of npm that a test uses; tests/inspector pins it."""

import shutil
import subprocess
from pathlib import Path
from typing import Final

from installer.errors import InstallError

PINS: Final = ("package.json", "package-lock.json")
"""The files that pin the packages with their hashes, but not the hosts they come from."""

SECONDS: Final = 600


def ensure(pins: Path, directory: Path) -> None:
    """Install in `directory` what `pins` locks, without running any package's scripts.

    Raises:
        InstallError: npm failed.
    """
    if all(_same(pins / name, directory / name) for name in PINS):
        return
    print("  installing the MCP inspector (npm)", flush=True)
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    shutil.copy(pins / PINS[0], directory)
    lock = shutil.copy(pins / PINS[1], directory / "npm-shrinkwrap.json")
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    try:
        done = subprocess.run(
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InstallError(f"npm could not install the MCP inspector: {error}.") from error
    if done.returncode != 0:
        tail = "\n  ".join(done.stderr.splitlines()[-15:])
        raise InstallError(f"npm could not install the MCP inspector:\n  {tail}")
    # The file gets its own name last, because it also marks a complete installation.
    Path(lock).rename(directory / PINS[1])


def _same(one: Path, other: Path) -> bool:
    return other.exists() and one.read_bytes() == other.read_bytes()
