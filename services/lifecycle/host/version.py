"""Which Hyperhive this is, as far as a container can tell."""

import hashlib
from importlib.metadata import version
from pathlib import Path


def current(prefix: Path) -> str:
    """The version of the package, and a digest of what containers get from it.

    `prefix`: where Hyperhive is installed. Two builds of one version that differ in the harness or
    in its units differ here, too.
    """
    digest = hashlib.sha256()
    units = sorted((prefix / "share/hyperhive/container").glob("*"))
    harness = sorted(prefix.glob("lib/python3*/site-packages/harness/**/*"))
    for path in (*units, *harness):
        if path.is_file() and path.suffix != ".pyc":
            digest.update(f"\0{path.name}\0".encode() + path.read_bytes())
    return f"{version('hyperhive')}+{digest.hexdigest()[:12]}"
