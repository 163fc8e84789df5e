"""The commits of a revision as a file, for a clone of the operator's."""

from typing import Final

from services.projects.changes.model import RevisionRow, Row, reference
from services.projects.repositories import Repositories
from services.quarantine.runner import GitFailed, run
from wire import names
from wire.connection import MAX_MESSAGE
from wire.errors import LimitExceeded, NotFound

MAX_BUNDLE: Final = MAX_MESSAGE - 2**20
"""Bytes of a file, which is sent in one message."""


async def bundle(repositories: Repositories, row: Row, revision: RevisionRow) -> bytes:
    """Return a bundle of git with the reference of a revision, and what the branch did not have.

    Raises:
        NotFound: the repository has lost the commits.
        LimitExceeded: it is larger than MAX_BUNDLE.
    """
    home, name = repositories.home(row.project), reference(row.id, revision.number)
    if not repositories.exists(row.project):
        raise NotFound(f"The repository of {row.project} is gone, and {names.change(row.id)} too.")
    without = [f"^{revision.base}"] if revision.base else []
    ended = await run(home, "bundle", "create", "--quiet", "-", name, *without, limit=MAX_BUNDLE)
    if ended.cut:
        raise LimitExceeded(
            f"{names.change(row.id)} has more than {MAX_BUNDLE // 2**20} MiB. As root, fetch it "
            f"from the repository itself: git fetch {home} {name}"
        )
    if ended.status:
        raise GitFailed(ended.message or "git bundle failed")
    return ended.output
