"""The bare repository of each agent, which only approvals writes.

`main` is the deployed commit; tags record the states of each request (`approved/3`).
"""

import asyncio
import os
import re
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

from services import metaflake
from services.approvals.git import flake_policy, histories, tree_policy
from services.quarantine import leftovers
from services.quarantine.quarantine import SCRATCH, Quarantine
from services.quarantine.runner import GitFailed, git, resolve, run
from wire import names
from wire.errors import Conflict, InvalidArgument, LimitExceeded, NotFound

MAX_DIFF: Final = 256 * 2**10
"""Bytes of a diff; a longer one is cut."""

IMPORTED: Final = "imported/"
"""The beginning of the tags for the history that an agent had in another system."""

_MAIN: Final = "refs/heads/main"
_NOTHING: Final = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
"""The empty tree, which git knows without having it."""
_NEW: Final = "0" * 40
_REFERENCE: Final = re.compile(r"[A-Za-z0-9]+(?:[/-][A-Za-z0-9]+)*")
_TAG: Final = re.compile(
    r"(?:proposal|approved|building|deployed|failed|denied|superseded|withdrawn)/[0-9]+"
)
_DIFF: Final = (
    "--no-color",
    "--no-ext-diff",
    "--no-textconv",
    "--no-renames",
    "--no-relative",
    "--ignore-submodules=none",
)
_ORDER: Final = Path(__file__).with_name("difforder")


class Repositories:
    """The repositories below `root`.

    `applied` is ours, `proposed` the manager's, and `imports` has root's copies of other systems.
    """

    def __init__(self, root: Path, *, scratch: Path = SCRATCH, flakes: bool = False) -> None:
        """Use the repositories below `root`; the quarantines are made in `scratch`.

        `flakes`: whether configurations are flakes, with a NixOS module.
        """
        self._flakes = flakes
        self._applied = root.absolute() / "applied"
        self._proposed = root / "proposed"
        self._imports = root / "imports"
        self._quarantine = Quarantine(scratch)
        # Bounds the cost of hostile commits: two checks or diffs at a time.
        self._checks = asyncio.Semaphore(2)

    async def prepare(self) -> None:
        """Remove the unfinished work of an earlier run. Call it once, before anything else."""
        self._applied.mkdir(parents=True, exist_ok=True)
        self._applied.chmod(0o755)
        for path in self._applied.glob(".*"):
            await asyncio.to_thread(leftovers.remove_tree, path)
        for agent in self.agents():
            leftovers.clear(self._applied / agent)

    def agents(self) -> list[str]:
        """Return the agents that have a repository."""
        return sorted(p.name for p in self._applied.iterdir() if names.is_agent_name(p.name))

    async def create(self, agent: str) -> None:
        """Make the agent's repository, empty, unless there is one."""
        names.check_agent_name(agent)
        home = self._applied / agent
        if home.exists():
            return
        new = self._applied / f".new-{agent}"
        await git(new, "init", "--quiet", "--bare", "--template=")
        # No .gitattributes may hide a change from the operator.
        (new / "info").mkdir(mode=0o755, exist_ok=True)
        attributes = new / "info/attributes"
        attributes.write_text("* !diff\n")
        for path in (new, new / "info"):
            path.chmod(0o755)
        attributes.chmod(0o644)
        new.rename(home)

    async def remove(self, agent: str) -> None:
        """Remove the agent's repository with its whole history, if there is one."""
        gone = self._applied / f".gone-{secrets.token_hex(8)}"
        if names.is_agent_name(agent):
            with suppress(FileNotFoundError):
                (self._applied / agent).rename(gone)
            await asyncio.to_thread(leftovers.remove_tree, gone)

    async def commit_file(
        self,
        agent: str,
        text: str,
        message: str,
        *,
        parent: str | None,
        path: str = tree_policy.AGENT_FILE,
    ) -> str:
        """Commit `text` as the file `path`; return the commit. No reference moves.

        Args:
            parent: the commit whose other files are kept; None: there is no earlier one.
            path: a path without `.` and `..`.

        Raises:
            NotFound: there is no repository, or no such parent.
            InvalidArgument: something else than a file is at `path`, or above it.
        """
        home = self._home(agent)
        blob = await _word(home, "hash-object", "-w", "--stdin", stdin=text.encode())
        tree = await _with_blob(home, parent, path.split("/"), blob)
        return await self._commit(home, tree, message, parent)

    async def commit_first(self, agent: str, text: str, message: str, *, parent: str | None) -> str:
        """Commit `text` as agent.toml, and the other files that a configuration begins with.

        Those that `parent` has are kept; raise as `commit_file`.
        """
        commit = await self.commit_file(agent, text, message, parent=parent)
        if self._flakes and metaflake.FLAKE not in await self.files(agent, commit):
            tree, home = commit, self._home(agent)
            for path, content in metaflake.BOILERPLATE.items():
                blob = await _word(home, "hash-object", "-w", "--stdin", stdin=content.encode())
                tree = await _with_blob(home, tree, [path], blob)
            commit = await self._commit(home, tree, message, parent)
        return commit

    async def fetch(self, agent: str, commit: str) -> str:
        """Take a commit from the manager's proposed repository; return all 40 digits of it.

        The proposed repository is not needed for it any more. Tag it soon, so that git keeps it. A
        commit that only our own repository has is found, too.

        Args:
            commit: 7 to 40 hexadecimal digits.

        Raises:
            NotFound, InvalidArgument, LimitExceeded, Timeout: See Quarantine.fetch.
        """
        return await self._quarantine.fetch(self._proposed / agent, commit, self._home(agent))

    async def take_history(self, agent: str) -> list[str]:
        """Take the branches and tags of the repository that an import has copied for the agent.

        They become tags that begin with `imported/`, such as `imported/tags/deployed/3`. An
        import that is repeated replaces them.

        Returns:
            The names of the branches and tags, as `tags/deployed/3`.

        Raises:
            NotFound: there is no repository, or nothing was copied.
            InvalidArgument, LimitExceeded, Timeout: see histories.references and
                Quarantine.fetch_tags.
        """
        home, source = self._home(agent), self._imports / agent
        found = await asyncio.to_thread(histories.references, source / ".git")
        return await self._quarantine.fetch_tags(source, found, home, IMPORTED)

    async def check(self, agent: str, commit: str, *, base: str | None, own: bool = False) -> None:
        """Check that `commit` may be deployed in the place of `base`.

        See tree_policy.check and flake_policy.check. `own`: whether the operator proposes it.
        """
        home = self._home(agent)
        async with self._checks:
            await tree_policy.check(home, commit, base, flakes=self._flakes)
            if self._flakes:
                await flake_policy.check(home, commit, base, own=own)

    def check_agent_file(self, text: str) -> None:
        """Check that agents of this host can have what an agent.toml asks for.

        Raises:
            InvalidArgument: they have NixOS systems, and it has packages of Debian.
        """
        if self._flakes:
            flake_policy.check_agent_file(text)

    async def read(self, agent: str, commit: str, path: str) -> str:
        """Return the text of a file.

        Raises:
            NotFound: there is no such file.
            LimitExceeded: it is larger than 64 KiB.
            InvalidArgument: it is not UTF-8 text.
        """
        size = tree_policy.MAX_AGENT_FILE
        ended = await run(
            self._home(agent),
            "cat-file",
            "blob",
            "--end-of-options",
            f"{commit}:{path}",
            limit=size,
        )
        if ended.cut:
            raise LimitExceeded(f"{path} is larger than {size // 2**10} KiB.")
        if ended.status:
            raise NotFound(f"There is no file {path} in {commit[:12]} of {agent}.")
        try:
            return ended.output.decode()
        except UnicodeDecodeError as error:
            raise InvalidArgument(f"{path} is not valid UTF-8 at byte {error.start}.") from None

    async def files(self, agent: str, commit: str) -> list[str]:
        """Return the paths of the files of a commit, in the order of git.

        Raises:
            NotFound: there is no such commit.
        """
        ended = await run(
            self._home(agent), "ls-tree", "-r", "-z", "--name-only", "--full-tree", commit
        )
        if ended.status:
            raise NotFound(f"{agent} has no commit {commit[:12]}.")
        return ended.output.decode(errors="replace").split("\0")[:-1]

    async def descends(self, agent: str, commit: str, ancestor: str) -> bool:
        """Return whether `ancestor` is `commit` or in its history.

        Raises:
            NotFound: there is no such commit.
        """
        ended = await run(self._home(agent), "merge-base", "--is-ancestor", ancestor, commit)
        if ended.status not in (0, 1):
            raise NotFound(f"{agent} has no commit {commit[:12]} or {ancestor[:12]}.")
        return ended.status == 0

    async def resolve(self, agent: str, ref: str) -> str | None:
        """Return the commit at `ref` (main, deployed/3, a full commit); None: there is none."""
        home = self._home(agent)
        return await resolve(home, ref) if _REFERENCE.fullmatch(ref) else None

    async def tag(self, agent: str, name: str, commit: str, message: str = "") -> None:
        """Tag `commit`, with a message if it is not empty. The same tag again is not an error.

        Raises:
            Conflict: another commit has that tag.
            NotFound: there is no such commit.
            InvalidArgument: it is not a name of one of our tags.
        """
        home = self._home(agent)
        if not _TAG.fullmatch(name):
            raise InvalidArgument(f"{name[:64]!r} is not a valid tag: use one such as approved/3.")
        if there := await self.resolve(agent, f"refs/tags/{name}"):
            if there != commit:
                raise Conflict(f"The tag {name} of {agent} is {there[:12]}, not {commit[:12]}.")
            return
        if await self.resolve(agent, commit) is None:
            raise NotFound(f"{agent} has no commit {commit[:12]}.")
        if message:
            # git's usual clean-up takes lines that begin with # for comments.
            said = (message.replace("\0", "").rstrip("\n") + "\n").encode(errors="replace")
            await git(home, "tag", "-a", "--cleanup=verbatim", "-F", "-", name, commit, stdin=said)
        else:
            await git(home, "update-ref", f"refs/tags/{name}", commit, _NEW)

    async def tags(self, agent: str) -> dict[str, str]:
        """Return all tags with their commits."""
        form = "--format=%(refname:strip=2) %(objectname) %(*objectname)"
        listed = await git(self._home(agent), "for-each-ref", form, "refs/tags", limit=2**24)
        lines = [line.split() for line in listed.decode().splitlines()]
        return {words[0]: words[-1] for words in lines}

    async def move_main(self, agent: str, commit: str) -> None:
        """Make `commit` the deployed one.

        Raises:
            NotFound: there is no such commit.
        """
        if await self.resolve(agent, commit) is None:
            raise NotFound(f"{agent} has no commit {commit[:12]}.")
        await git(self._home(agent), "update-ref", _MAIN, commit)
        # The manager's harness watches this, and makes a working copy for a new agent.
        os.utime(self._applied)

    async def diff(self, agent: str, old: str | None, new: str) -> str:
        """Return the unified diff from `old` to `new`, agent.toml first, and all lines of it.

        Args:
            old: None: everything in `new` is added.

        Raises:
            NotFound: there is no such commit.
        """
        between = [*_DIFF, f"-O{_ORDER}", "--end-of-options", old or _NOTHING, new, "--"]
        # A line that changes may change the meaning of any other one of this file: it may end a
        # text, or a comment, that went on to the end of the file. So the whole file is shown.
        wholly = [tree_policy.AGENT_FILE, *([metaflake.MODULE] if self._flakes else [])]
        whole = ["diff", f"--unified={tree_policy.MAX_AGENT_FILE}", *between, *wholly]
        others = ["diff", *between, *(f":(top,exclude){path}" for path in wholly)]
        async with self._checks:
            first = await run(self._home(agent), *whole, limit=MAX_DIFF)
            room = MAX_DIFF - len(first.output)
            second = await run(self._home(agent), *others, limit=room)
        if first.status or second.status:
            raise NotFound(
                f"{agent} has no commit {new[:12]} or {(old or '')[:12]}: a purge deletes those of "
                "an earlier agent of the same name."
            )
        text = (first.output + second.output).decode(errors="replace")
        if not first.cut and not second.cut:
            return text
        return text[: text.rfind("\n") + 1] + (
            f"[cut here: the diff is longer than {MAX_DIFF // 2**10} KiB. To see all of it: "
            f"runuser -u hive-approvals -- git --git-dir={self._applied / agent} diff "
            f"{(old or _NOTHING)[:12]} {new[:12]}]\n"
        )

    @staticmethod
    async def _commit(home: Path, tree: str, message: str, parent: str | None) -> str:
        on_top = ("-p", parent) if parent else ()
        said = message.replace("\0", "").encode(errors="replace")
        return await _word(home, "commit-tree", *on_top, "-F", "-", tree, stdin=said)

    def _home(self, agent: str) -> Path:
        home = self._applied / agent
        if not names.is_agent_name(agent) or not home.is_dir():
            raise NotFound(
                f"There are no configurations of the agent {agent[:64]!r}: there is no such agent, "
                "or they were deleted when it was purged. `hivectl deploy-log` lists what it ran."
            )
        return home


async def _with_blob(home: Path, tree: str | None, path: list[str], blob: str) -> str:
    """Return a tree with `blob` at `path`; all else is as in `tree`, which may be a commit.

    Raises:
        NotFound: there is no such tree.
        InvalidArgument: something else than a file is at `path`, or above it.
    """
    name, *below = path
    entries: list[bytes] = []
    mode, there = "100644", None
    listed = await git(home, "ls-tree", "-z", "--full-tree", tree) if tree else b""
    for entry in listed.split(b"\0")[:-1]:
        about, _, entry_name = entry.partition(b"\t")
        if entry_name == name.encode():
            mode, _kind, there = about.decode().split()
        else:
            entries.append(entry)
    if below:
        if there and mode != "040000":
            raise InvalidArgument(f"{name!r} is not a directory of the configuration.")
        made = await _with_blob(home, there, below, blob)
        entries.append(f"040000 tree {made}\t{name}".encode())
    else:
        if mode not in tree_policy.FILES:
            raise InvalidArgument(f"{name!r} is not a file of the configuration.")
        entries.append(f"{mode} blob {blob}\t{name}".encode())
    return await _word(home, "mktree", "-z", stdin=b"\0".join(entries) + b"\0")


async def _word(home: Path, *arguments: str, stdin: bytes) -> str:
    try:
        return (await git(home, *arguments, stdin=stdin)).decode().strip()
    except GitFailed as error:
        raise NotFound(f"git cannot commit in the repository {home.name}: {error}.") from None
