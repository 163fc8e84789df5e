"""The hive as a flake, held against the real Nix: what approvals writes is what is built."""

import json
import shutil
from pathlib import Path

import pytest

from services import metaflake
from services.approvals.git.agent_flakes import AgentFlakes
from services.approvals.git.meta import Meta
from services.build.tests.nix_host import HYPERHIVE, Host, made, module
from services.flakelock import Lock
from services.metaflake import Locked

pytestmark = pytest.mark.skipif(not shutil.which("nix"), reason="needs Nix")


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return made(tmp_path, monkeypatch)


async def begun(host: Host) -> Meta:
    """Return meta, as it is when approvals has started."""
    meta = Meta(host.folder, AgentFlakes(host.folder, host.config.nixos))
    await meta.recover()
    return meta


def system(host: Host, rev: str = "") -> str:
    """Return the system of alice in meta, as it is on the disk, or as it is committed."""
    flake = f"git+file://{host.folder}/meta{rev}"
    attribute = f"{metaflake.attribute('alice')}.outPath"
    return host.run("nix", "eval", "--raw", f"{flake}#{attribute}", "--no-update-lock-file")


async def test_meta_says_what_is_built(host: Host) -> None:
    """A deploy is prepared, built, and finalized or aborted."""
    meta = await begun(host)
    one, two = (host.commit(module(f'"{number}"')) for number in (1, 2))
    await meta.prepare("alice", 1, one)
    first = str((host.build(one) / "system").readlink())
    assert system(host) == first
    await meta.finalize("alice", "One", "operator")
    assert system(host, "?ref=main") == first
    host.git("--git-dir", str(host.applied / "alice"), "update-ref", "refs/heads/main", one)

    lock = (host.folder / "meta/flake.lock").read_text()
    await meta.prepare("alice", 2, two)
    second = str((host.build(two) / "system").readlink())
    assert system(host) == second != first
    assert system(host, "?ref=main") == first
    await meta.abort("alice")
    assert (host.folder / "meta/flake.lock").read_text() == lock
    assert system(host) == first

    # Nix itself locks the same commit, with more about it.
    copy = host.folder / "copy"
    host.git("clone", "-q", str(host.folder / "meta"), str(copy))
    host.run("nix", "flake", "lock", "--update-input", "agent-alice", str(copy))
    nodes = json.loads((copy / "flake.lock").read_text())["nodes"]
    ours = json.loads(lock)["nodes"]
    assert nodes["agent-alice"]["original"] == ours["agent-alice"]["original"]
    assert nodes["agent-alice"]["locked"].items() >= ours["agent-alice"]["locked"].items()


async def test_an_update_of_hyperhive_is_an_input(host: Host) -> None:
    meta = await begun(host)
    commit = host.commit(module('"x"'))
    await meta.prepare("alice", 1, commit)
    await meta.finalize("alice", "x", "operator")
    before = system(host, "?ref=main")
    host.inputs["hyperhive"] = host.add("hyperhive", HYPERHIVE.replace("VERSION", "2"))
    await begun(host)
    assert system(host, "?ref=main") == str((host.build(commit) / "system").readlink()) != before


def test_the_lock_of_an_agent_becomes_a_part(host: Host) -> None:
    """Nix finds nothing to change, with inputs of inputs, and paths from the root."""
    lib = host.add("lib", "{ outputs = _: { x = 1; }; }")
    tool = host.add("tool", f'{{ inputs.lib.url = "path:{lib.path}"; outputs = _: {{ }}; }}')
    flake = metaflake.AGENT_FLAKE.replace(
        "{\n  outputs",
        f"""{{
  inputs.tool.url = "path:{tool.path}";
  inputs.other.url = "path:{tool.path}";
  inputs.other.inputs.lib.follows = "tool/lib";
  inputs.source = {{ url = "path:{lib.path}"; flake = false; }};
  outputs""",
    )
    copy = host.folder / "copy"
    copy.mkdir()
    (copy / "flake.nix").write_text(flake)
    (copy / "agent.nix").write_text("{ }")
    host.run("nix", "flake", "lock", f"path:{copy}")
    lock = (copy / "flake.lock").read_text()
    commit = host.commit("{ }", **{"flake.nix": flake, "flake.lock": lock})
    meta = host.folder / "whole"
    meta.mkdir()
    config = host.config.nixos
    (meta / "flake.nix").write_text(metaflake.flake(config, host.applied, ["alice"]))
    agents = {"alice": Locked(commit, Lock.model_validate_json(lock))}
    (meta / "flake.lock").write_text(metaflake.lock(config, host.applied, agents))
    host.run("nix", "flake", "lock", "--no-update-lock-file", f"path:{meta}")
