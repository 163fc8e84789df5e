"""Configurations that are flakes: the rules for their files, and the flake of the whole hive."""

import json
import subprocess
from pathlib import Path

import pytest

from services import flakelock, metaflake
from services.approvals.git.agent_flakes import AgentFlakes
from services.approvals.git.meta import Meta
from services.approvals.git.repositories import Repositories
from services.config import FlakeInput, NixosConfig
from services.quarantine.tests.worktree import WorkTree
from wire.errors import InvalidArgument, LimitExceeded

HASH = "sha256-2j22EaNkxIYhfBz+mJDWv8O8/gvGk7q90hgzZ1OWhuQ="
CONFIG = NixosConfig(
    inputs={
        "hyperhive": FlakeInput(path="/nix/store/1-hyperhive", nar_hash=HASH),
        "nixpkgs": FlakeInput(path="/nix/store/1-nixpkgs", nar_hash=HASH),
    }
)
NEWER = NixosConfig(
    inputs={**CONFIG.inputs, "hyperhive": FlakeInput(path="/nix/store/2-hive", nar_hash=HASH)}
)


def locked(rev: str = "1" * 40, **source: str) -> str:
    """Return a flake.lock with one input."""
    original = {"type": "github", "owner": "o", "repo": "tool", **source}
    node = {"locked": {**original, "rev": rev, "narHash": HASH}, "original": original}
    nodes = {"root": {"inputs": {"tool": "tool"}}, "tool": node}
    return json.dumps({"nodes": nodes, "root": "root", "version": 7})


WITH_INPUT = metaflake.AGENT_FLAKE.replace(
    "{\n  outputs", '{\n  inputs.tool.url = "github:o/tool";\n  outputs'
)


@pytest.fixture
async def ours(tmp_path: Path) -> Repositories:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    made = Repositories(tmp_path, scratch=scratch, flakes=True)
    await made.prepare()
    await made.create("alice")
    return made


class Case:
    """A proposal on top of what is deployed."""

    def __init__(self, ours: Repositories, tree: WorkTree, base: str) -> None:
        self.ours = ours
        self.tree = tree
        self.base = base

    async def deploy(self, files: dict[str, str]) -> None:
        """Deploy a change that the operator has made."""
        self.base = await self.ours.fetch("alice", self.tree.commit(files))

    async def check(
        self,
        files: dict[str, str | bytes],
        links: dict[str, str] | None = None,
        *,
        own: bool = False,
    ) -> None:
        for path in links or {}:
            (self.tree.path / path).unlink(missing_ok=True)
        commit = await self.ours.fetch("alice", self.tree.commit(files, links))
        await self.ours.check("alice", commit, base=self.base, own=own)


@pytest.fixture
async def case(ours: Repositories, theirs: WorkTree, tmp_path: Path) -> Case:
    base = await ours.commit_first("alice", "# first\n", "Begin", parent=None)
    await ours.move_main("alice", base)
    theirs.pull(tmp_path / "applied/alice", base)
    return Case(ours, theirs, base)


async def test_an_agent_begins_with_a_flake(ours: Repositories, case: Case) -> None:
    files = await ours.files("alice", case.base)
    assert files == ["agent.nix", "agent.toml", "flake.lock", "flake.nix"]
    await ours.check("alice", case.base, base=None)
    again = await ours.commit_first("alice", "# second\n", "Again", parent=case.base)
    assert await ours.read("alice", again, "flake.nix") == metaflake.AGENT_FLAKE


async def test_agent_nix_may_change(case: Case) -> None:
    await case.check({"agent.nix": "{ }", "more.nix": "{ }"})


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"flake.nix": WITH_INPUT}, "changes flake.nix, which belongs to the hive"),
        ({"flake.lock": locked()}, "flake.lock is stale: it has the input tool"),
        ({"flake.lock": "{}"}, "flake.lock is not valid: nodes: Field required"),
        ({"flake.lock": b"\xff"}, "can't decode byte"),
        ({"flake.lock": locked(type="path", path="/etc")}, "source path"),
        ({"agent.toml": 'packages = ["jq"]'}, "name them in agent.nix"),
    ],
)
async def test_other_files_are_refused(case: Case, files: dict[str, str | bytes], why: str) -> None:
    with pytest.raises(InvalidArgument, match=why):
        await case.check(files)


@pytest.mark.parametrize("path", ["agent.nix", "flake.nix", "flake.lock"])
async def test_files_of_the_flake_are_files(case: Case, path: str) -> None:
    with pytest.raises(InvalidArgument, match=path):
        await case.check({"other.nix": "{ }"}, {path: "other.nix"})
    case.tree.git("rm", "-q", path)
    with pytest.raises(InvalidArgument, match=path):
        await case.check({})


async def test_a_large_lock_is_refused(case: Case) -> None:
    with pytest.raises(LimitExceeded, match=r"flake.lock is larger than 256 KiB"):
        await case.check({"flake.lock": " " * (flakelock.MAX_BYTES + 1)})


async def test_the_operator_may_add_an_input(case: Case) -> None:
    change: dict[str, str | bytes] = {"flake.nix": WITH_INPUT, "flake.lock": locked()}
    with pytest.raises(InvalidArgument, match="Only the operator"):
        await case.check(change)
    await case.check(change, own=True)


async def test_a_proposal_may_lock_a_newer_revision(case: Case) -> None:
    await case.deploy({"flake.nix": WITH_INPUT, "flake.lock": locked()})
    await case.check({"flake.lock": locked("2" * 40)})
    with pytest.raises(InvalidArgument, match="it changes the input tool"):
        await case.check({"flake.lock": locked(owner="evil")})
    with pytest.raises(InvalidArgument, match="it lacks the input tool"):
        await case.check({"flake.lock": metaflake.BOILERPLATE["flake.lock"]})


async def test_an_agent_without_a_flake_may_get_the_hives(
    ours: Repositories, theirs: WorkTree
) -> None:
    """As one that the backend nspawn has left, or that has the system of all agents."""
    base = await ours.fetch("alice", theirs.commit({"agent.toml": "# x\n"}))
    more = await ours.fetch("alice", theirs.commit({"agent.toml": "# y\n"}))
    await ours.check("alice", more, base=base)
    alone = await ours.fetch("alice", theirs.commit({"agent.nix": "{ }"}))
    with pytest.raises(InvalidArgument, match=r"agent.nix has no effect without flake.nix"):
        await ours.check("alice", alone, base=base)
    others = {**metaflake.BOILERPLATE, "flake.nix": WITH_INPUT}
    other = await ours.fetch("alice", theirs.commit(others))
    with pytest.raises(InvalidArgument, match=r"changes flake.nix"):
        await ours.check("alice", other, base=base)
    whole = await ours.fetch("alice", theirs.commit(metaflake.BOILERPLATE))
    await ours.check("alice", whole, base=base)


async def test_all_of_agent_nix_is_shown(ours: Repositories, case: Case) -> None:
    text = "".join(f"# {number}\n" for number in range(50))
    await case.deploy({"agent.nix": text})
    after = await ours.fetch("alice", case.tree.commit({"agent.nix": f"{text}{{ }}\n"}))
    assert "\n # 1\n" in await ours.diff("alice", case.base, after)


class Hive:
    """Meta of a hive with agents."""

    def __init__(self, tmp_path: Path, ours: Repositories) -> None:
        self.path = tmp_path
        self.ours = ours

    def meta(self, config: NixosConfig | None = CONFIG) -> Meta:
        return Meta(self.path, AgentFlakes(self.path, config) if config else None)

    def file(self, name: str) -> str:
        return (self.path / "meta" / name).read_text()

    def commits(self) -> dict[str, str]:
        """The commits of agents in the lock of the work tree."""
        nodes = json.loads(self.file("flake.lock"))["nodes"]
        return {
            name.removeprefix("agent-"): node["locked"]["rev"]
            for name, node in nodes.items()
            if name.startswith("agent-") and "/" not in name
        }


async def test_the_lock_is_prepared_committed_and_restored(
    tmp_path: Path, ours: Repositories, case: Case
) -> None:
    hive = Hive(tmp_path, ours)
    meta = hive.meta()
    await meta.recover()
    await meta.prepare("alice", 0, case.base)
    await meta.finalize("alice", "x", "operator")
    before = hive.file("flake.lock"), hive.file("flake.nix"), hive.file("agents.json")
    assert hive.commits() == {"alice": case.base}
    assert 'nixosConfigurations = {\n      "alice" = ' in before[1]

    after = await ours.fetch("alice", case.tree.commit({"agent.nix": "{ }"}))
    await meta.prepare("alice", 1, after)
    assert hive.commits() == {"alice": after}
    await meta.abort("alice")
    assert (hive.file("flake.lock"), hive.file("flake.nix"), hive.file("agents.json")) == before
    await meta.prepare("alice", 2, after)
    await meta.finalize("alice", "y", "operator")
    assert hive.commits() == {"alice": after}
    assert [deploy.approval for deploy in await meta.log(None, 9)] == [2, 0]


async def test_an_update_of_the_host_is_a_commit(
    tmp_path: Path, ours: Repositories, case: Case
) -> None:
    hive = Hive(tmp_path, ours)
    meta = hive.meta()
    await meta.recover()
    await meta.prepare("alice", 0, case.base)
    await meta.finalize("alice", "x", "operator")
    for _ in range(2):
        again = hive.meta(NEWER)
        await again.recover()
    assert "/nix/store/2-hive" in hive.file("flake.lock")
    assert hive.commits() == {"alice": case.base}
    assert len(await again.log(None, 9)) == 1
    assert _subjects(tmp_path) == ["Update the inputs", "Deploy alice: x", "Begin"]
    await hive.meta(None).recover()
    assert not (tmp_path / "meta/flake.nix").exists()
    assert _subjects(tmp_path)[0] == "Update the inputs"


async def test_an_agent_without_a_flake_is_not_in_it(
    tmp_path: Path, ours: Repositories, theirs: WorkTree
) -> None:
    hive = Hive(tmp_path, ours)
    plain = await ours.fetch("alice", theirs.commit({"agent.toml": "# x\n"}))
    meta = hive.meta()
    await meta.recover()
    await meta.prepare("alice", 0, plain)
    await meta.finalize("alice", "x", "operator")
    assert hive.commits() == {}
    assert "alice" in json.loads(hive.file("agents.json"))


def _subjects(tmp_path: Path) -> list[str]:
    """Return the subjects of meta's log, newest first."""
    command = ["git", "-C", f"{tmp_path}/meta", "log", "--format=%s"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
