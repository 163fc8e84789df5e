"""The files that a killed git, or a killed removal, leaves behind."""

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

_LEFT_BEHIND: Final = ("*.lock", "refs/**/*.lock", "objects/*/tmp_*", "objects/tmp_*")


def clear(home: Path) -> None:
    """Remove the lock files and unfinished objects of a git that was killed in `home`.

    Call it only while no git runs there: it would lose the lock that it holds.
    """
    for pattern in _LEFT_BEHIND:
        for path in home.glob(pattern):
            if path.is_dir():
                remove_tree(path)
            else:
                path.unlink(missing_ok=True)


def remove_tree(path: Path) -> None:
    """Remove a tree, also when the operator removes it at the same time."""
    while path.exists():
        with suppress(FileNotFoundError):
            shutil.rmtree(path)
