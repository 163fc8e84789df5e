"""A repository of ours into which commits are taken."""

from pathlib import Path
from typing import Any

import pytest

from services.quarantine.bounds import Bounds
from services.quarantine.quarantine import Quarantine
from services.quarantine.runner import git, resolve, run
from wire.errors import InvalidArgument, LimitExceeded, NotFound


class Ours:
    """A bare repository, and the quarantine before it."""

    def __init__(self, home: Path, theirs: Path, scratch: Path) -> None:
        self.home = home
        self._theirs = theirs
        self._scratch = scratch
        self.bind()

    def bind(self, **bounds: Any) -> None:
        """Take commits within other bounds; see Bounds."""
        self._quarantine = Quarantine(self._scratch, Bounds(**bounds))

    async def create(self) -> None:
        await git(self.home, "init", "--quiet", "--bare", "--template=")

    async def fetch(self, commit: str) -> str:
        return await self._quarantine.fetch(self._theirs, commit, self.home)

    async def keep(self, commit: str) -> None:
        """Let a reference lead to a commit, as to one that was accepted."""
        await git(self.home, "update-ref", "refs/heads/main", commit)

    async def read(self, commit: str, path: str) -> str:
        return (await git(self.home, "cat-file", "blob", f"{commit}:{path}")).decode()

    async def show(self, commit: str) -> str:
        """Return the diff of a commit, as git makes it when nothing forbids programs."""
        return (await git(self.home, "show", "--textconv", "--ext-diff", commit)).decode()

    async def resolve(self, name: str) -> str | None:
        return await resolve(self.home, name)

    async def references(self) -> str:
        return (await git(self.home, "for-each-ref")).decode()

    async def is_ancestor(self, old: str, new: str) -> bool:
        return (await run(self.home, "merge-base", "--is-ancestor", old, new)).status == 0


async def refused(ours: Ours, name: str) -> str:
    """Return the refusal; fetch twice, as nothing of the first attempt may stay."""
    for _ in range(2):
        with pytest.raises((InvalidArgument, NotFound, LimitExceeded)) as caught:
            await ours.fetch(name)
    return str(caught.value)
