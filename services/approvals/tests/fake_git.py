"""The repositories in memory. They survive when approvals is killed."""

import hashlib
from dataclasses import dataclass, field

from services.approvals.git import flake_policy, tree_policy
from services.approvals.git.meta import Pin
from services.approvals.tests.faults import Faults
from wire.errors import Conflict, NotFound
from wire.records.approvals import Deploy


@dataclass
class Commit:
    text: str
    parent: str | None


@dataclass
class Repository:
    commits: dict[str, Commit] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)


@dataclass
class FakeRepositories:
    faults: Faults
    applied: dict[str, Repository] = field(default_factory=dict)
    proposed: dict[str, dict[str, Commit]] = field(default_factory=dict)
    own: set[str] = field(default_factory=set)
    """The commits that were checked as the operator's own."""
    flakes: bool = False
    """Whether configurations are flakes, with a NixOS module."""

    def propose(self, agent: str, text: str, parent: str | None) -> str:
        """Commit in the proposed repository, as the manager does; return the commit."""
        name = _name(agent, text, parent)
        self.proposed.setdefault(agent, {})[name] = Commit(text, parent)
        return name

    async def prepare(self) -> None:
        """Do nothing: in memory no work is unfinished."""

    def agents(self) -> list[str]:
        return sorted(self.applied)

    async def create(self, agent: str) -> None:
        async with self.faults.at("create"):
            self.applied.setdefault(agent, Repository())

    async def commit_file(
        self,
        agent: str,
        text: str,
        message: str,
        *,
        parent: str | None,
        path: str = tree_policy.AGENT_FILE,
    ) -> str:
        async with self.faults.at("commit_file"):
            # As with git, the same again is another commit: its time is another one.
            ours = self._of(agent).commits
            name = _name(agent, text, parent, len(ours))
            ours[name] = Commit(text, parent)
            return name

    async def commit_first(self, agent: str, text: str, message: str, *, parent: str | None) -> str:
        return await self.commit_file(agent, text, message, parent=parent)

    async def fetch(self, agent: str, commit: str) -> str:
        async with self.faults.at("fetch"):
            ours, theirs = self._of(agent).commits, self.proposed.get(agent, {})
            known = {**theirs, **ours}
            found = [name for name in known if name.startswith(commit)]
            if len(found) != 1:
                raise NotFound(f"There is no commit {commit}.")
            at: str | None = found[0]
            while at and at not in ours:
                ours[at] = known[at]
                at = known[at].parent
            return found[0]

    async def take_history(self, agent: str) -> list[str]:
        async with self.faults.at("take_history"):
            self._of(agent)
            return ["heads/main"]

    async def check(self, agent: str, commit: str, *, base: str | None, own: bool = False) -> None:
        self._commit(agent, commit)
        if own:
            self.own.add(commit)

    def check_agent_file(self, text: str) -> None:
        if self.flakes:
            flake_policy.check_agent_file(text)

    async def read(self, agent: str, commit: str, path: str) -> str:
        return self._commit(agent, commit).text

    async def files(self, agent: str, commit: str) -> list[str]:
        self._commit(agent, commit)
        return [tree_policy.AGENT_FILE]

    async def descends(self, agent: str, commit: str, ancestor: str) -> bool:
        async with self.faults.at("descends"):
            at: str | None = commit
            while at and at != ancestor:
                at = self._commit(agent, at).parent
            return at == ancestor

    async def resolve(self, agent: str, ref: str) -> str | None:
        async with self.faults.at("resolve"):
            return self._of(agent).refs.get(ref)

    async def tag(self, agent: str, name: str, commit: str, message: str = "") -> None:
        async with self.faults.at(f"tag {name}"):
            repository = self._of(agent)
            self._commit(agent, commit)
            there = repository.refs.setdefault(f"refs/tags/{name}", commit)
            if there != commit:
                raise Conflict(f"{name} is another commit.")
            repository.notes.setdefault(name, message)

    async def tags(self, agent: str) -> dict[str, str]:
        refs = self._of(agent).refs
        return {
            ref.removeprefix("refs/tags/"): commit for ref, commit in refs.items() if ref != "main"
        }

    async def move_main(self, agent: str, commit: str) -> None:
        async with self.faults.at("move_main"):
            self._commit(agent, commit)
            self._of(agent).refs["main"] = commit

    async def diff(self, agent: str, old: str | None, new: str) -> str:
        before = self._commit(agent, old).text if old else ""
        return f"-{before}+{self._commit(agent, new).text}"

    async def remove(self, agent: str) -> None:
        async with self.faults.at("remove"):
            self.applied.pop(agent, None)

    def _of(self, agent: str) -> Repository:
        if agent not in self.applied:
            raise NotFound(f"There is no repository of {agent}.")
        return self.applied[agent]

    def _commit(self, agent: str, commit: str) -> Commit:
        if commit not in self._of(agent).commits:
            raise NotFound(f"There is no commit {commit}.")
        return self._of(agent).commits[commit]


@dataclass
class FakeMeta:
    faults: Faults
    pins: dict[str, Pin] = field(default_factory=dict)
    prepared: dict[str, Pin] = field(default_factory=dict)
    deploys: list[Deploy] = field(default_factory=list)

    async def recover(self) -> None:
        async with self.faults.at("recover"):
            self.prepared.clear()

    async def prepare(self, agent: str, approval: int, commit: str) -> None:
        async with self.faults.at("prepare"):
            self.prepared[agent] = Pin(approval, commit)

    async def finalize(self, agent: str, description: str, requested_by: str) -> None:
        async with self.faults.at("finalize"):
            pin = self.prepared.pop(agent)
            if self.pins.get(agent) != pin:
                self.pins[agent] = pin
                deploy = Deploy(1, agent, pin.commit, pin.approval, requested_by, description)
                self.deploys.insert(0, deploy)

    async def abort(self, agent: str) -> None:
        async with self.faults.at("abort"):
            self.prepared.pop(agent, None)

    async def remove(self, agent: str) -> None:
        async with self.faults.at("remove from meta"):
            self.pins.pop(agent, None)
            self.deploys = [d._replace(kept=d.kept and d.agent != agent) for d in self.deploys]

    async def deployed(self) -> dict[str, Pin]:
        async with self.faults.at("deployed"):
            return dict(self.pins)

    async def log(self, agent: str | None, limit: int) -> list[Deploy]:
        return [d for d in self.deploys if agent in (None, d.agent)][:limit]


def _name(*parts: object) -> str:
    return hashlib.sha1(repr(parts).encode(), usedforsecurity=False).hexdigest()
