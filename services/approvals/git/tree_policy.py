"""The rules for the files of a commit that is to be deployed."""

from pathlib import Path
from typing import Final, NamedTuple

from services.quarantine.links import stays
from services.quarantine.runner import GitFailed, git, run
from wire.errors import InvalidArgument, LimitExceeded

AGENT_FILE: Final = "agent.toml"
MAX_AGENT_FILE: Final = 64 * 2**10
"""Bytes of agent.toml."""
MAX_ENTRIES: Final = 2000
"""Files and directories."""
MAX_BYTES: Final = 10 * 10**6
"""Bytes of all files together."""

_OWNED: Final = "flake.nix"
"""Belongs to the hive, and says how an agent's configuration is built."""
_LINKS: Final = 100
_LINK_LENGTH: Final = 255
_LISTING: Final = 2**20
_LINK: Final = "120000"
_MODULE: Final = "160000"
FILES: Final = ("100644", "100755")
"""The modes of files in a tree."""


class _Entry(NamedTuple):
    mode: str
    name: str
    size: int


async def check(repository: Path, commit: str, base: str | None, *, flakes: bool = False) -> None:
    """Check that the tree of `commit` may be deployed in the place of the tree of `base`.

    Args:
        base: None: nothing was deployed.
        flakes: whether flake_policy.py has the rules for flake.nix.

    Raises:
        InvalidArgument: a file is missing or not allowed; the sentence names it.
        LimitExceeded: something is too large, or there is too much of it.
    """
    tree = await _listed(repository, commit)
    if sum(entry.size for entry in tree.values()) > MAX_BYTES:
        raise LimitExceeded(f"The commit holds more than {MAX_BYTES // 10**6} MB of files.")
    _check_agent_file(tree.get(AGENT_FILE))
    for path, entry in tree.items():
        if entry.mode == _MODULE:
            raise InvalidArgument(
                f"{path!r} is a submodule, whose content is not in the commit; put the files there."
            )
    links = await _links(repository, tree)
    for path in links:
        if not stays(path, links):
            raise InvalidArgument(
                f"The symbolic link {path!r} points out of the repository, or forms a loop."
            )
    if flakes:
        return
    before = await _name(repository, base, _OWNED) if base else None
    after = tree.get(_OWNED)
    if (after.name if after else None) != before:
        raise InvalidArgument(
            f"The commit changes {_OWNED}, which belongs to the hive; leave it as it is deployed."
        )


def _check_agent_file(entry: _Entry | None) -> None:
    if entry is None or entry.mode not in FILES:
        raise InvalidArgument(f"The commit has no file {AGENT_FILE} at its top.")
    if entry.size > MAX_AGENT_FILE:
        raise LimitExceeded(f"{AGENT_FILE} is larger than {MAX_AGENT_FILE // 2**10} KiB.")


async def _listed(repository: Path, commit: str) -> dict[str, _Entry]:
    # With the directories (-t): a few objects can describe an endless tree of directories alone.
    ended = await run(
        repository, "ls-tree", "-r", "-t", "-l", "-z", "--full-tree", commit, limit=_LISTING
    )
    if ended.status:
        raise GitFailed(ended.message)
    lines = ended.output.decode(errors="backslashreplace").split("\0")[:-1]
    if ended.cut or len(lines) > MAX_ENTRIES:
        raise LimitExceeded(f"The commit holds more than {MAX_ENTRIES} files and directories.")
    tree = {}
    for line in lines:
        about, _, path = line.partition("\t")
        mode, _kind, name, size = about.split()
        tree[path] = _Entry(mode, name, 0 if size == "-" else int(size))
    return tree


async def _links(repository: Path, tree: dict[str, _Entry]) -> dict[str, str]:
    """Return the symbolic links in `tree` with their targets."""
    links = {path: entry for path, entry in tree.items() if entry.mode == _LINK}
    if len(links) > _LINKS or any(entry.size > _LINK_LENGTH for entry in links.values()):
        raise LimitExceeded(
            f"The commit holds more than {_LINKS} symbolic links, or one of more than "
            f"{_LINK_LENGTH} characters."
        )
    return {
        path: (await git(repository, "cat-file", "blob", entry.name)).decode(errors="replace")
        for path, entry in links.items()
    }


async def _name(repository: Path, commit: str, path: str) -> str | None:
    """Return the name of the object at `path` in `commit`."""
    line = (await git(repository, "ls-tree", "-z", "--full-tree", commit, "--", path)).decode()
    return line.split()[2] if line else None
