"""The version of Hyperhive, as far as it matters to a container."""

import hashlib
from importlib.metadata import version
from pathlib import Path


def current(prefix: Path) -> str:
    """Return the version of the package, with a digest of the files that containers get.

    Two builds of one version have different results if the harness or its units differ.

    Args:
        prefix: the directory in which Hyperhive is installed.
    """
    digest = hashlib.sha256()
    units = sorted((prefix / "share/hyperhive/container").glob("*"))
    harness = sorted(prefix.glob("lib/python3*/site-packages/harness/**/*"))
    for path in (*units, *harness):
        if path.is_file() and path.suffix != ".pyc":
            digest.update(f"\0{path.name}\0".encode() + path.read_bytes())
    return f"{version('hyperhive')}+{digest.hexdigest()[:12]}"
