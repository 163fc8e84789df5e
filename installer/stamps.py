"""Stamps: a complete step leaves a digest of what it was made from, and is not repeated then."""

import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

PACKAGES: Final = ("wire", "services", "harness", "hivectl")
"""The packages of the hive."""


def digest(paths: Iterable[Path]) -> str:
    """Return a digest of the names and contents of `paths` and of the version of this Python."""
    digest = hashlib.sha256("{}.{}".format(*sys.version_info[:2]).encode())
    for path in paths:
        content = path.read_bytes() if path.exists() else b""
        digest.update(f"\0{path.name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def read(path: Path) -> str:
    """Return the text of a stamp; empty if there is none."""
    return path.read_text() if path.exists() else ""


def sources(repo: Path) -> Iterable[Path]:
    """Yield the files from which the hyperhive package is made."""
    yield from (repo / name for name in ("pyproject.toml", "README.md", "LICENSE"))
    for package in (*PACKAGES, "docs", "installer", "man"):
        for path in sorted((repo / package).rglob("*")):
            inside = path.relative_to(repo).parts
            if path.is_file() and not {"tests", "__pycache__"}.intersection(inside):
                yield path
