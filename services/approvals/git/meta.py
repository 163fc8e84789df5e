"""The repository that says what each agent runs; its log is the audit trail of the hive.

`agents.json` holds the request and the commit of each agent; where agents have NixOS systems, the
repository is a flake besides. A deploy is first prepared: written there, but not committed. A
successful one is finalized (committed), a failed one aborted (taken back). Deploys of several
agents may be prepared at once; each commit holds one agent's.
"""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from services import flakelock, metaflake
from services.quarantine.leftovers import clear
from services.quarantine.runner import git, resolve
from wire.errors import Conflict
from wire.records.approvals import Deploy
from wire.text.escaping import prose

_FILE: Final = "agents.json"
_FLAKE: Final = (metaflake.FLAKE, flakelock.NAME)
_MAIN: Final = "refs/heads/main"
_SUBJECT: Final = 200
"""Characters of a description's first line that the log keeps."""
_LOG: Final = 2**24
_FIELDS: Final = ("%ct", "%s", *(f"%(trailers:key={key},valueonly,separator=)" for key in (
    "Agent", "Commit", "Approval", "Requested-by")))  # fmt: skip


class Pin(NamedTuple):
    """The commit that an agent runs, and the id of its request; 0: the initial configuration."""

    approval: int
    commit: str


class Flake(Protocol):
    """The files besides agents.json."""

    async def files(self, commits: Mapping[str, str]) -> dict[str, bytes]:
        """Return the files for the commits that the agents run."""


class Meta:
    """The repository `meta` below `root`. One call runs at a time; the others wait."""

    def __init__(self, root: Path, flake: Flake | None = None) -> None:
        """Do nothing before `recover`.

        Args:
            root: the directory of the repository.
            flake: the files of a flake; None: agents have no NixOS systems.
        """
        self._flake = flake
        self._tree = root / "meta"
        self._home = self._tree / ".git"
        self._prepared: dict[str, Pin] = {}
        self._one = asyncio.Lock()

    async def recover(self) -> None:
        """Make the repository if there is none, and remove the unfinished work of an earlier run.

        Call it once, before anything else. Nothing is prepared afterwards.
        """
        async with self._one:
            self._tree.mkdir(parents=True, exist_ok=True)
            self._tree.chmod(0o755)
            await git(self._home, "init", "--quiet", "--template=")
            clear(self._home)
            for name in (_FILE, *_FLAKE):
                (self._tree / f".{name}").unlink(missing_ok=True)
            if await resolve(self._home, _MAIN) is None:
                await self._commit({}, "Begin", None)
            elif await self._outdated():
                await self._commit(await self._deployed(), "Update the inputs", None)
            else:
                await self._show()

    async def prepare(self, agent: str, approval: int, commit: str) -> None:
        """Write that `agent` is about to run `commit`, in place of what was prepared for it."""
        async with self._one:
            self._prepared[agent] = Pin(approval, commit)
            await self._show()

    async def finalize(self, agent: str, description: str, requested_by: str) -> None:
        """Commit what was prepared for `agent`, unless that is committed already.

        Raises:
            Conflict: nothing was prepared.
        """
        async with self._one:
            pin = self._prepared.get(agent)
            if pin is None:
                raise Conflict(f"No deployment of {agent} is prepared.")
            deployed = await self._deployed()
            if deployed.get(agent) != pin:
                trailers = {
                    "Agent": agent,
                    "Approval": str(pin.approval),
                    "Commit": pin.commit,
                    "Requested-by": requested_by,
                }
                said = "".join(f"{key}: {_line(value)}\n" for key, value in trailers.items())
                subject = f"Deploy {agent}: {_line(description)}"
                await self._commit({**deployed, agent: pin}, f"{subject}\n\n{said}", agent)
            else:
                self._prepared.pop(agent)
                await self._show()

    async def abort(self, agent: str) -> None:
        """Take back what was prepared for `agent`, if anything was."""
        async with self._one:
            self._prepared.pop(agent, None)
            await self._show()

    async def remove(self, agent: str) -> None:
        """Forget what `agent` runs; the log keeps what it ran."""
        async with self._one:
            deployed = await self._deployed()
            if deployed.pop(agent, None) is not None:
                await self._commit(deployed, f"Remove {agent}\n", agent)
            elif self._prepared.pop(agent, None) is not None:
                await self._show()

    async def deployed(self) -> dict[str, Pin]:
        """Return what each agent runs, as it was finalized last."""
        async with self._one:
            return await self._deployed()

    async def log(self, agent: str | None, limit: int) -> list[Deploy]:
        """Return the last `limit` deploys, newest first.

        Those from before the removal of an agent are not kept, also if there is an agent of the
        same name now.

        Args:
            agent: return only its deploys; None: those of all agents.
        """
        wanted = (f"Agent: {agent}$", f"Remove {agent}$") if agent else ("Approval: ", "Remove ")
        count = limit
        while True:
            found = await git(
                self._home,
                "log",
                "-z",
                f"--max-count={count}",
                *(f"--grep=^{line}" for line in wanted),
                "--format=" + "%x1f".join(_FIELDS),
                _MAIN,
                limit=_LOG,
            )
            entries = [entry for entry in found.decode().split("\0") if entry]
            deploys = _deploys(entries)
            if len(deploys) >= limit or len(entries) < count:
                return deploys[:limit]
            count *= 2  # some of them were removals

    async def _outdated(self) -> bool:
        """Return whether the committed flake is made from other inputs than those of the host."""
        listed = (await git(self._home, "ls-tree", "-z", _MAIN)).decode()
        entries = [line.split() for line in listed.split("\0")[:-1]]
        there = {name: blob for _mode, _kind, blob, name in entries}
        if self._flake is None:
            return there.keys() != {_FILE}
        files = await self._files(await self._deployed())
        return there != {name: await self._blob(content) for name, content in files.items()}

    async def _files(self, pins: dict[str, Pin]) -> dict[str, bytes]:
        commits = {agent: pin.commit for agent, pin in pins.items()}
        flake = await self._flake.files(commits) if self._flake else {}
        return {_FILE: _text(pins), **flake}

    async def _blob(self, content: bytes) -> str:
        return await self._word("hash-object", "-w", "--stdin", stdin=content)

    async def _deployed(self) -> dict[str, Pin]:
        found = json.loads(await git(self._home, "cat-file", "blob", f"{_MAIN}:{_FILE}"))
        return {agent: Pin(pin["approval"], pin["commit"]) for agent, pin in found.items()}

    async def _commit(self, pins: dict[str, Pin], message: str, done: str | None) -> None:
        """Commit `pins`. The moved branch is the truth; index and files are made from it."""
        files = await self._files(pins)
        blobs = {name: await self._blob(content) for name, content in files.items()}
        entries = "".join(f"100644 blob {blob}\t{name}\n" for name, blob in blobs.items())
        tree = await self._word("mktree", stdin=entries.encode())
        head = await resolve(self._home, _MAIN)
        on_top = ("-p", head) if head else ()
        said = message.encode(errors="replace")
        commit = await self._word("commit-tree", *on_top, "-F", "-", tree, stdin=said)
        await git(self._home, "update-ref", _MAIN, commit, head or "0" * 40)
        if done is not None:
            self._prepared.pop(done, None)
        await self._show()

    async def _show(self) -> None:
        """Write the index as committed, and the files as committed with what is prepared."""
        await git(self._home, "read-tree", _MAIN)
        files = await self._files({**await self._deployed(), **self._prepared})
        for name, content in files.items():
            path = self._tree / f".{name}"
            path.write_bytes(content)
            path.chmod(0o644)
            path.replace(self._tree / name)
        if self._flake is None:
            for name in _FLAKE:
                (self._tree / name).unlink(missing_ok=True)

    async def _word(self, *arguments: str, stdin: bytes) -> str:
        return (await git(self._home, *arguments, stdin=stdin)).decode().strip()


def _text(pins: dict[str, Pin]) -> bytes:
    text = json.dumps({agent: pin._asdict() for agent, pin in sorted(pins.items())}, indent=2)
    return f"{text}\n".encode()


def _line(text: str) -> str:
    """Return the first line of `text` without anything that could pass for the log's own lines."""
    first = next((line for line in text.splitlines() if line.strip()), "").strip()
    return prose(first, one_line=True)[:_SUBJECT].rstrip()


def _deploys(entries: list[str]) -> list[Deploy]:
    """Return the deploys among entries of the log, newest first, that may be removals, too."""
    removed: set[str] = set()
    found = []
    for entry in entries:
        time, subject, agent, commit, approval, by = entry.strip("\n").split("\x1f")
        if not approval:
            removed.add(subject.removeprefix("Remove "))
            continue
        at, description = int(time) * 1_000_000, subject.removeprefix(f"Deploy {agent}:").strip()
        kept = agent not in removed
        found.append(Deploy(at, agent, commit, int(approval), by, description, kept))
    return found
