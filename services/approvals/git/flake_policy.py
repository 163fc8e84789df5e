"""The rules for the flake in a commit that is to be deployed, where agents have NixOS systems.

Nothing is evaluated: flake.nix is compared with the deployed one, and flake.lock as JSON.
"""

import contextlib
from pathlib import Path
from typing import NamedTuple

from services import agentfile, flakelock, metaflake
from services.approvals.git import tree_policy
from services.flakelock import Lock
from services.quarantine.runner import GitFailed, git, run
from wire.errors import InvalidArgument, LimitExceeded


class _Entry(NamedTuple):
    mode: str
    name: str


def check_agent_file(text: str) -> None:
    """Check that an agent.toml asks for nothing that a NixOS system cannot have.

    Whether the file is valid is checked elsewhere, with a sentence of its own.

    Raises:
        InvalidArgument: it has packages of Debian.
    """
    with contextlib.suppress(ValueError):
        if agentfile.parse(text).packages:
            raise InvalidArgument(
                "packages in agent.toml are packages of Debian, and the agents of this host have "
                f"NixOS: name them in {metaflake.MODULE}, as environment.systemPackages."
            )


async def check(repository: Path, commit: str, base: str | None, *, own: bool) -> None:
    """Check that the flake in `commit` may be deployed in the place of that in `base`.

    A commit without a flake is allowed if none is deployed.

    Args:
        repository: the repository of both commits.
        commit: the commit.
        base: None: nothing was deployed.
        own: whether the operator proposes the commit, who may change flake.nix.

    Raises:
        InvalidArgument: a file is missing or not allowed; the sentence names it.
        LimitExceeded: flake.lock is too large.
    """
    await _check_packages(repository, commit)
    after = await _entries(repository, commit)
    before = await _entries(repository, base) if base else {}
    if metaflake.FLAKE not in after and metaflake.FLAKE not in before:
        if metaflake.MODULE in after:
            raise InvalidArgument(
                f"{metaflake.MODULE} has no effect without {metaflake.FLAKE} and "
                f"{flakelock.NAME}; take both from the repository of an agent that has them."
            )
        return
    changed = after.get(metaflake.FLAKE) != before.get(metaflake.FLAKE)
    if changed and not own:
        await _check_unchanged(repository, after, before)
    for path in (metaflake.FLAKE, metaflake.MODULE, flakelock.NAME):
        if path not in after or after[path].mode not in tree_policy.FILES:
            raise InvalidArgument(f"The commit has no file {path} at its top.")
    lock = await _lock(repository, commit)
    if changed and own:
        return  # flake.nix is not evaluated here: a build fails where it lacks an input
    deployed = flakelock.NAME in before and not changed
    current = await _lock(repository, str(base)) if deployed else flakelock.EMPTY
    try:
        flakelock.check_current(lock, current)
    except ValueError as error:
        raise InvalidArgument(str(error)) from error


async def _check_packages(repository: Path, commit: str) -> None:
    limit = tree_policy.MAX_AGENT_FILE
    found = await run(
        repository, "cat-file", "blob", f"{commit}:{tree_policy.AGENT_FILE}", limit=limit
    )
    check_agent_file(found.output.decode(errors="replace"))


async def _check_unchanged(
    repository: Path, after: dict[str, _Entry], before: dict[str, _Entry]
) -> None:
    """Allow no other flake.nix than the deployed one, or than the hive's where there is none."""
    new = after.get(metaflake.FLAKE)
    if new and metaflake.FLAKE not in before and new.mode in tree_policy.FILES:
        limit = len(metaflake.AGENT_FLAKE)
        ended = await run(repository, "cat-file", "blob", new.name, limit=limit)
        if not ended.cut and ended.output == metaflake.AGENT_FLAKE.encode():
            return
    raise InvalidArgument(
        f"The commit changes {metaflake.FLAKE}, which belongs to the hive; leave it as it is "
        "deployed. Only the operator can submit such a commit."
    )


async def _entries(repository: Path, commit: str) -> dict[str, _Entry]:
    files = (metaflake.FLAKE, metaflake.MODULE, flakelock.NAME)
    listed = await git(repository, "ls-tree", "-z", "--full-tree", commit, "--", *files)
    found = {}
    for line in listed.decode(errors="replace").split("\0")[:-1]:
        about, _, path = line.partition("\t")
        mode, _kind, name = about.split()
        found[path] = _Entry(mode, name)
    return found


async def _lock(repository: Path, commit: str) -> Lock:
    """Return the flake.lock in a commit.

    Raises:
        InvalidArgument: it is not valid.
        LimitExceeded: it is too large.
    """
    limit = flakelock.MAX_BYTES
    ended = await run(repository, "cat-file", "blob", f"{commit}:{flakelock.NAME}", limit=limit)
    if ended.cut:
        raise LimitExceeded(f"{flakelock.NAME} is larger than {limit // 2**10} KiB.")
    if ended.status:
        raise GitFailed(ended.message)
    try:
        return flakelock.parse(ended.output.decode())
    except ValueError as error:
        raise InvalidArgument(str(error)) from error
