"""The commit that each agent runs, and the log of deploys."""

import json
import subprocess
from pathlib import Path

import pytest

from services.approvals.git.meta import Meta, Pin
from wire.errors import Conflict
from wire.records.approvals import Deploy

ONE, TWO, THREE = ("1" * 40, "2" * 40, "3" * 40)


@pytest.fixture
async def meta(tmp_path: Path) -> Meta:
    made = Meta(tmp_path)
    await made.recover()
    return made


def look(tmp_path: Path, *arguments: str) -> str:
    command = ["git", "-C", f"{tmp_path}/meta", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def shown(tmp_path: Path) -> object:
    return json.loads((tmp_path / "meta/agents.json").read_text())


async def test_a_deploy_is_prepared_and_then_committed(meta: Meta, tmp_path: Path) -> None:
    await meta.prepare("alice", 3, ONE)
    assert await meta.deployed() == {}
    assert look(tmp_path, "status", "--porcelain") == " M agents.json\n"
    assert shown(tmp_path) == {"alice": {"approval": 3, "commit": ONE}}
    await meta.finalize("alice", "More memory\n\nbecause", "manager")
    assert await meta.deployed() == {"alice": Pin(3, ONE)}
    assert look(tmp_path, "status", "--porcelain") == ""
    assert look(tmp_path, "log", "-1", "--format=%B").strip() == (
        f"Deploy alice: More memory\n\nAgent: alice\nApproval: 3\nCommit: {ONE}\n"
        "Requested-by: manager"
    )


async def test_or_aborted(meta: Meta, tmp_path: Path) -> None:
    await meta.prepare("alice", 3, ONE)
    await meta.abort("alice")
    await meta.abort("alice")
    assert look(tmp_path, "status", "--porcelain") == ""
    assert shown(tmp_path) == {}
    with pytest.raises(Conflict):
        await meta.finalize("alice", "x", "manager")


async def test_two_at_once_do_not_mix(meta: Meta, tmp_path: Path) -> None:
    await meta.prepare("alice", 1, ONE)
    await meta.prepare("bob", 2, TWO)
    await meta.finalize("bob", "b", "operator")
    assert await meta.deployed() == {"bob": Pin(2, TWO)}
    assert look(tmp_path, "show", "HEAD:agents.json").count("commit") == 1
    assert look(tmp_path, "status", "--porcelain") == " M agents.json\n"
    await meta.abort("alice")
    assert look(tmp_path, "status", "--porcelain") == ""


async def test_the_log_is_the_history(meta: Meta) -> None:
    await meta.prepare("alice", 0, ONE)
    await meta.finalize("alice", "initial configuration", "hyperhive")
    await meta.prepare("bob", 2, TWO)
    await meta.finalize("bob", "", "operator")
    await meta.prepare("alice", 3, THREE)
    await meta.finalize("alice", "Deploy bob: no", "manager")
    await meta.remove("bob")
    await meta.remove("bob")
    assert await meta.deployed() == {"alice": Pin(3, THREE)}
    found = await meta.log(None, 10)
    assert [entry[1:] for entry in found] == [
        ("alice", THREE, 3, "manager", "Deploy bob: no", True),
        ("bob", TWO, 2, "operator", "", False),
        ("alice", ONE, 0, "hyperhive", "initial configuration", True),
    ]
    assert found[0].at >= found[-1].at > 1_600_000_000_000_000
    assert [entry.approval for entry in await meta.log("alice", 1)] == [3]
    assert [entry.approval for entry in await meta.log("alice", 9)] == [3, 0]
    assert await meta.log("carol", 9) == []


async def test_the_log_tells_an_agent_from_a_purged_one_of_the_same_name(meta: Meta) -> None:
    for number in range(1, 4):
        await meta.prepare("alice", number, ONE)
        await meta.finalize("alice", "Remove alice", "manager")
        await meta.prepare("bob", number, TWO)
        await meta.finalize("bob", "", "Remove bob")
        if number < 3:
            await meta.remove("alice")
    for limit in range(1, 5):
        found = await meta.log("alice", limit)
        whole = [(3, True), (2, False), (1, False)]
        assert [(entry.approval, entry.kept) for entry in found] == whole[:limit]
    everything = await meta.log(None, 100)
    assert len(everything) == 6
    for limit in range(1, 8):
        assert await meta.log(None, limit) == everything[:limit]
    assert all(entry.kept for entry in everything if entry.agent == "bob")


async def test_nobody_talks_himself_into_the_log(meta: Meta) -> None:
    await meta.prepare("alice", 3, ONE)
    hostile = "\n  evil\x1f\x00\x1b[2J\u2028Agent: bob\nApproval: 9\n\nCommit: x"
    await meta.finalize("alice", hostile, "manager\nAgent: bob")
    (entry,) = await meta.log(None, 9)
    assert entry == Deploy(entry.at, "alice", ONE, 3, "manager", "evil<U+001F><U+0000><U+001B>[2J")
    assert await meta.log("bob", 9) == []


async def test_the_same_deploy_again_is_no_news(meta: Meta) -> None:
    for _ in range(2):
        await meta.prepare("alice", 3, ONE)
        await meta.finalize("alice", "x", "manager")
    assert len(await meta.log(None, 9)) == 1


async def test_after_a_crash_only_what_is_committed_counts(meta: Meta, tmp_path: Path) -> None:
    await meta.prepare("alice", 3, ONE)
    await meta.finalize("alice", "x", "manager")
    await meta.prepare("bob", 4, TWO)
    for lock in ("index.lock", "HEAD.lock", "refs/heads/main.lock"):
        (tmp_path / "meta/.git" / lock).touch()
    again = Meta(tmp_path)
    await again.recover()
    assert await again.deployed() == {"alice": Pin(3, ONE)}
    assert look(tmp_path, "status", "--porcelain") == ""
    await again.prepare("bob", 4, TWO)
    await again.finalize("bob", "y", "manager")
    assert look(tmp_path, "fsck", "--strict") == ""
