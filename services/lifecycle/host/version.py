"""The version of Hyperhive, as far as it matters to a container."""

import hashlib
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from services.errors import ConfigError


def current(prefix: Path) -> str:
    """Return the version of the package, with a digest of the files that containers get.

    Two builds of one version have different results if the harness, its units or Claude Code
    differ.

    Args:
        prefix: the directory in which Hyperhive is installed.

    Raises:
        ConfigError: files are missing; no update would ever be noticed.
    """
    digest = hashlib.sha256()
    for folder in (prefix / "share/hyperhive/container", _harness()):
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        if not files:
            raise ConfigError(
                f"{folder} has no files, so containers would have no harness. The installation is "
                "incomplete. Repeat it."
            )
        for path in files:
            if path.suffix != ".pyc":
                digest.update(f"\0{path.name}\0".encode() + path.read_bytes())
    script = prefix / "share/hyperhive/hive-init.sh"
    digest.update(script.read_bytes() if script.exists() else b"")
    digest.update(_claude_code().encode())
    return f"{version('hyperhive')}+{digest.hexdigest()[:12]}"


def _claude_code() -> str:
    """Return the version of the package that has Claude Code in it; empty if there is none."""
    try:
        return version("claude-agent-sdk")
    except PackageNotFoundError:
        return ""


def _harness() -> Path:
    """Return the directory of the harness that is really imported.

    Not a fixed path below the prefix: some installations have their packages elsewhere.
    """
    found = find_spec("harness")
    places = found.submodule_search_locations if found else None
    return Path(next(iter(places or ()), "harness"))
