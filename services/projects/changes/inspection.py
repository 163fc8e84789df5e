"""The rules for a commit that an agent hands back: what is refused, and what is pointed out.

The commit is looked at before our repository has it. git itself checks each object when it is
fetched (`transfer.fsckObjects`).
"""

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from services.projects.changes import keys, messages, trees, tricks
from services.projects.changes.trees import Entry
from services.quarantine.links import stays
from services.quarantine.runner import git, run
from wire.errors import Conflict, InvalidArgument, LimitExceeded
from wire.text.escaping import literal

MAX_COMMITS: Final = 200
"""Commits of one change."""
MAX_FILES: Final = 5000
"""Files that one change touches."""
MAX_PATH: Final = 1000
"""Bytes of a path."""

_NAMED: Final = 5
"""Things that a finding names one by one."""
_SCANNED: Final = 8 * 2**20
"""Bytes of the diff in which keys are looked for."""
_SETTINGS: Final = 2**18
"""Bytes of a file of settings of git that are read."""
_TOO_LONG: Final = "(the rest of the file was not read)"
_ATTRIBUTES: Final = 50
"""Files of attributes that are read."""
_ATTRIBUTE: Final = re.compile(rb"(?:^|\s)((?:filter|merge|diff|working-tree-encoding)=\S+)")
_RUN_BY_FORGES: Final = re.compile(
    r"\.(?:github|gitea|forgejo)/(?:workflows|actions)/.*|\.gitlab-ci\.yml|\.gitlab/ci/.*"
    r"|\.(?:woodpecker|circleci|buildkite|drone)(?:\.ya?ml|/.*)|Jenkinsfile|azure-pipelines\.yml"
    r"|\.travis\.yml|\.pre-commit-config\.yaml"
)


class Inspected(NamedTuple):
    """A commit that may be submitted."""

    base: str
    """The commit from which it branches off; empty: the branch has no commit."""
    findings: tuple[str, ...]
    """Sentences about commits and files that deserve a look."""


async def inspect(home: Path, commit: str, tip: str, *, project: str, branch: str) -> Inspected:
    """Check a commit for a branch.

    Args:
        home: the git directory that has both.
        commit: the commit.
        tip: the commit of the branch; empty: it has none.
        project: the project, for the sentences.
        branch: the branch, for the sentences.

    Raises:
        Conflict: it is part of the branch already, or has nothing in common with it.
        InvalidArgument: a path could trick a computer that checks the commit out, or a message
            could trick a reader.
        LimitExceeded: it has too many commits or files, or too long messages.
    """
    base = await _base(home, commit, tip, project, branch)
    await _check_count(home, commit, tip)
    start = base or trees.EMPTY
    final = await trees.between(home, start, commit)
    if len(final) > MAX_FILES:
        raise LimitExceeded(
            f"The change touches {len(final)} files; at most {MAX_FILES} are reviewed at a time. "
            "Submit a smaller change."
        )
    commits = (commit, f"^{tip}") if tip else (commit,)
    written = await messages.examine(home, commits)
    passing = await trees.of_commits(home, *commits)
    await asyncio.to_thread(_check_paths, [e.path for e in (*final, *passing) if not e.deleted])
    await _check_collisions(home, commit, final)
    await _check_links(home, commit, final)
    findings = await _findings(home, final, commits)
    return Inspected(base, (*written, *findings))


async def _base(home: Path, commit: str, tip: str, project: str, branch: str) -> str:
    if not tip:
        return ""
    ended = await run(home, "merge-base", "--all", tip, commit)
    bases = ended.output.decode().split()
    if ended.status or not bases:
        raise Conflict(
            f"The commit {commit[:12]} does not descend from any commit of {project}: it shares no "
            f"history with the branch {branch}. Make your change on top of `origin/{branch}`, "
            "and submit that commit."
        )
    if len(bases) > 1:
        raise Conflict(
            f"The commit {commit[:12]} and the branch {branch} went apart in {len(bases)} places, "
            "between which nobody can see what your change is. Run `git fetch` and `git merge "
            f"origin/{branch}` (or rebase onto it), and submit the result."
        )
    [base] = bases
    if base == commit:
        raise Conflict(
            f"The commit {commit[:12]} is part of the branch {branch} of {project} already. Commit "
            "your change first, and submit the new commit (`git rev-parse HEAD`)."
        )
    return base


async def _check_count(home: Path, commit: str, tip: str) -> None:
    counted = await git(home, "rev-list", "--count", commit, *([f"^{tip}"] if tip else []))
    if int(counted) > MAX_COMMITS:
        raise LimitExceeded(
            f"The change has {int(counted)} commits; at most {MAX_COMMITS} are reviewed at a time. "
            "Submit fewer, or squash them."
        )


def _check_paths(paths: Sequence[bytes]) -> None:
    for path in paths:
        if len(path) > MAX_PATH:
            raise InvalidArgument(
                f"The path {_shown(path)} has {len(path)} bytes; at most {MAX_PATH} are allowed. "
                "Use fewer or shorter directories."
            )
        if tricks.has_controls(path):
            raise InvalidArgument(
                f"The path {_shown(path)} has control characters. Give the file another name."
            )
    if found := tricks.dot_git(paths):
        raise InvalidArgument(
            f"The path {_shown(found)} is a directory of git's own on some computers, which could "
            "run programs there. Give it another name."
        )


async def _check_collisions(home: Path, commit: str, final: Sequence[Entry]) -> None:
    added = [entry.path for entry in final if entry.added]
    if not added:
        return
    present = await trees.paths(home, commit)
    found = await asyncio.to_thread(tricks.collision, added, present)
    if found:
        one, other = map(_quoted, found)
        raise InvalidArgument(
            f"The paths {one} and {other} are the same file where case does not count, as on macOS "
            "and Windows. Give one of them another name."
        )


async def _check_links(home: Path, commit: str, final: Sequence[Entry]) -> None:
    changed = [trees.text(entry.path) for entry in final if entry.new_mode == trees.LINK]
    if not changed:
        return
    links = await trees.links(home, commit)
    if (path := await asyncio.to_thread(_leading_out, changed, links)) is not None:
        raise InvalidArgument(
            f"The symbolic link {_quoted(path)} leads to {_quoted(links[path])}, out of the "
            "repository, or forms a loop. Use a relative link that stays in it."
        )


def _leading_out(changed: Iterable[str], links: Mapping[str, str]) -> str | None:
    return next((path for path in changed if not stays(path, links)), None)


async def _findings(home: Path, final: Sequence[Entry], commits: Sequence[str]) -> list[str]:
    kept = [entry for entry in final if not entry.deleted]
    found = [
        _finding(kept, lambda entry: entry.new_mode == trees.SUBMODULE, "sets the submodule"),
        await _submodules(home, kept),
        await _attributes(home, kept),
        _finding(
            final,
            lambda entry: _name(entry) == ".lfsconfig",
            "changes where files of Git LFS come from:",
        ),
        _finding(
            kept,
            lambda entry: bool(_RUN_BY_FORGES.fullmatch(trees.text(entry.path))),
            "changes what the forge or a hook may run:",
        ),
        _finding(
            kept,
            lambda entry: entry.new_mode == trees.EXECUTABLE != entry.old_mode,
            "makes executable:",
        ),
        await _secrets(home, *commits),
    ]
    return [finding for finding in found if finding]


def _finding(entries: Iterable[Entry], chosen: Callable[[Entry], bool], what: str) -> str:
    return _listed(f"It {what}", [_shown(entry.path) for entry in entries if chosen(entry)])


def _listed(beginning: str, found: Sequence[str]) -> str:
    if not found:
        return ""
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return f"{beginning} {', '.join(found[:_NAMED])}{more}."


async def _submodules(home: Path, kept: Sequence[Entry]) -> str:
    found: set[str] = set()
    for entry in kept:
        if entry.path.lower() == b".gitmodules":
            before, after = [await _urls(home, one) for one in (entry.old, entry.new)]
            found |= after - before
    return _listed("It adds submodule addresses:", [_quoted(url) for url in sorted(found)])


async def _urls(home: Path, blob: str) -> set[str]:
    ended = await run(
        home,
        "config",
        f"--blob={blob}",
        "-z",
        "--get-regexp",
        r"^submodule\..*\.(url|update)$",
        limit=_SETTINGS,
    )
    found = ended.output.decode(errors="backslashreplace").split("\0")
    urls = {value for one in found if (value := one.partition("\n")[2])}
    return urls | {_TOO_LONG} if ended.cut else urls


async def _attributes(home: Path, kept: Sequence[Entry]) -> str:
    found: list[str] = []
    files = [entry for entry in kept if _name(entry) == ".gitattributes"]
    for entry in files[:_ATTRIBUTES]:
        before, after = [await _named(home, one) for one in (entry.old, entry.new)]
        found += [_quoted(one) for one in sorted(after - before)]
    if len(files) > _ATTRIBUTES:
        found.append(f"{len(files) - _ATTRIBUTES} more files were not read")
    return _listed("It adds attributes that name programs or conversions:", found)


async def _named(home: Path, blob: str) -> set[str]:
    content = await trees.blob(home, blob, _SETTINGS)
    found = {trees.text(one) for one in _ATTRIBUTE.findall(content)}
    return found | {_TOO_LONG} if len(content) == _SETTINGS else found


async def _secrets(home: Path, *commits: str) -> str:
    """Look for secrets in each commit: all of them are published, also what a later one removes."""
    options = (
        "--patch",
        "--format=",
        "--diff-merges=remerge",
        "--unified=0",
        "--no-color",
        "--no-renames",
    )
    safely = ("--no-ext-diff", "--no-textconv")
    ended = await run(home, "log", *options, *safely, *commits, "--", limit=_SCANNED)
    seen = await asyncio.to_thread(lambda: [*keys.find(ended.output)])
    found = [f"{one.kind} ({_shown(one.path)}:{one.line})" for one in seen]
    if ended.cut:
        found.append(f"what follows the first {_SCANNED // 2**20} MiB was not searched")
    return _listed("It may contain secrets:", found)


def _name(entry: Entry) -> str:
    # Where case does not count, git finds its files by other names, too.
    return trees.text(entry.path).rpartition("/")[2].casefold()


def _shown(path: bytes) -> str:
    return _quoted(trees.text(path))


def _quoted(text: str) -> str:
    return f"'{literal(text[:200], one_line=True)}'"
