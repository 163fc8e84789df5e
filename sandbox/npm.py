"""The one program of npm that a test uses: the MCP inspector, as tests/inspector pins it."""

import shutil
import subprocess
from pathlib import Path
from typing import Final

from sandbox.instance import SandboxError

PINS: Final = ("package.json", "package-lock.json")
"""What is installed, with the hash of every package; without the hosts that they come from."""

SECONDS: Final = 600


def ensure(pins: Path, directory: Path) -> None:
    """Make `directory` hold what `pins` lock. No script of any package is run.

    Raises SandboxError when npm fails.
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
        raise SandboxError(f"npm could not install the MCP inspector: {error}.") from error
    if done.returncode != 0:
        tail = "\n  ".join(done.stderr.splitlines()[-15:])
        raise SandboxError(f"npm could not install the MCP inspector:\n  {tail}")
    # Under its own name only now: it is also the mark that all is there.
    Path(lock).rename(directory / PINS[1])


def _same(one: Path, other: Path) -> bool:
    return other.exists() and one.read_bytes() == other.read_bytes()
