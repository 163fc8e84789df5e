"""Projects: added, listed, shown, fetched, changed and removed."""

from pathlib import Path

import pytest

from hivectl.exit_codes import Exit
from hivectl.tests.conftest import Hivectl
from hivectl.tests.fake_agent import COMMIT, SINCE
from hivectl.tests.fake_hive import FakeHive
from hivectl.tests.fake_projects import project
from hivectl.tests.hostile import HOSTILE, assert_harmless
from wire.errors import Conflict
from wire.records.changes import PublishMode
from wire.records.lifecycle import ProjectAccess
from wire.records.projects import AddOptions, Branch, ProjectState, SetOptions

URL = "https://forge.example/w.git"


async def test_a_project_is_added_with_its_options(hive: FakeHive, hivectl: Hivectl) -> None:
    chosen = ("--branch", "next", "--credential", "deploy", "--depth", "5", "--private")
    ran = await hivectl(
        "project", "add", "w", URL, *chosen, "--filter", "blob:none", "--how", "squash"
    )
    assert ran.out == f"w: main is at {COMMIT[:12]} (3.0 MiB)\n"
    options = AddOptions("next", "deploy", 5, "blob:none", True, PublishMode.SQUASH)
    assert hive.projects.calls == [("add", "w", URL, options)]


@pytest.mark.parametrize(
    ("typed", "path"), [(typed, Path(typed).resolve()) for typed in (".", "../other", "sub/dir")]
)
async def test_the_path_of_a_directory_is_made_absolute(
    hive: FakeHive, hivectl: Hivectl, typed: str, path: Path
) -> None:
    await hivectl("project", "add", "w", typed)
    [(_, _, source, _)] = hive.projects.calls
    assert source == str(path)


@pytest.mark.parametrize("typed", ["", URL, "git@forge.example:a/b.git", "/srv/w"])
async def test_other_sources_are_passed_on(hive: FakeHive, hivectl: Hivectl, typed: str) -> None:
    await hivectl("project", "add", "w", *([typed] if typed else []))
    [(_, _, source, _)] = hive.projects.calls
    assert source == typed


async def test_the_home_of_nobody_is_no_path(hive: FakeHive, hivectl: Hivectl) -> None:
    ran = await hivectl("project", "add", "w", "~nobody-at-all/w")
    assert (ran.code, hive.projects.calls) == (Exit.USAGE, [])
    assert "there is no such user" in ran.err


async def test_a_fetch_that_fails_says_why(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.projects.outcome = {"state": ProjectState.FAILED, "message": f"No {HOSTILE}."}
    ran = await hivectl("project", "add", "w", URL)
    assert ran.code == Exit.FAILED
    _progress, first, second = ran.err.splitlines()
    assert first.startswith("hivectl: w: No ")
    assert_harmless(first)
    assert second.startswith("  w is added, and a timer tries again.")


async def test_a_fetch_says_what_it_did_not_bring(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.projects.projects["w"] = project("w")
    hive.projects.outcome = {"notes": ["It refers to 1 submodule."]}
    ran = await hivectl("project", "fetch", "w")
    assert ran.out == f"w: main is at {COMMIT[:12]} (3.0 MiB)\n"
    assert ran.err == "Receiving objects: 1 of 2 …\nIt refers to 1 submodule.\n"
    assert (await hivectl("project", "fetch", "none")).code == Exit.NOT_FOUND


async def test_a_new_repository_has_no_commits(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.projects.outcome = {"commit": "", "branch": "trunk"}
    assert (await hivectl("project", "add", "own")).out == "own: trunk has no commits yet\n"


async def test_without_waiting_it_returns_at_once(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.projects.outcome = {"state": ProjectState.FETCHING}
    ran = await hivectl("project", "add", "w", URL, "--no-wait")
    assert "w is being fetched" in ran.out


async def test_a_fetch_that_takes_too_long_continues(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.projects.outcome = {"state": ProjectState.FETCHING}
    ran = await hivectl("project", "add", "w", URL, "--timeout", "0.2")
    assert ran.code == Exit.TIMEOUT
    assert "still goes on after 0.2 s, and continues" in ran.err


async def test_the_list(hive: FakeHive, hivectl: Hivectl) -> None:
    assert "no projects yet" in (await hivectl("project", "list")).out
    hive.projects.projects = {
        "w": project("w"),
        "own": project("own", source="", commit="", fetched=0, size=0),
    }
    ran = await hivectl("project", "list")
    words = [line.split() for line in ran.out.splitlines()]
    assert words[0] == ["NAME", "STATE", "BRANCH", "COMMIT", "FETCHED", "SIZE", "SOURCE"]
    assert words[1][:4] == ["w", "ready", "main", COMMIT[:12]]
    assert words[2] == ["own", "ready", "main", "-", "-", "0", "B", "(this", "hive)"]
    [first, second] = (await hivectl("project", "list", "--json")).json
    assert (first["name"], first["source"], first["bytes"]) == ("w", URL, 3 * 2**20)
    assert (second["source"], second["commit"], second["fetched"]) == (None, None, None)


async def test_a_project_is_shown_without_what_steers_the_terminal(
    hive: FakeHive, hivectl: Hivectl
) -> None:
    hive.projects.projects["w"] = project(
        "w", state=ProjectState.FAILED, message=f"No. {HOSTILE}", depth=3, filter="blob:none"
    )
    hive.projects.branches = [Branch(f"b{HOSTILE}", COMMIT, SINCE, HOSTILE)]
    hive.projects.host_keys = ["ssh-ed25519 SHA256:abc"]
    ran = await hivectl("project", "show", "w")
    assert "w: failed" in ran.out
    assert "host key    ssh-ed25519 SHA256:abc" in ran.out
    assert "only        the newest 3 commits, blob:none" in ran.out
    assert_harmless(ran.out.replace("\n", ""))
    shown = (await hivectl("project", "show", "w", "--json")).json
    assert shown["branches"][0]["commit"] == COMMIT
    assert shown["host_keys"] == ["ssh-ed25519 SHA256:abc"]


async def test_a_project_is_shown_with_its_agents(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.projects.projects["w"] = project("w")
    assert "agents      -\n" in (await hivectl("project", "show", "w")).out
    for name, readonly in (("alice", True), ("bob-2", False)):
        access = ProjectAccess("w", readonly=readonly, branches=[])
        hive.lifecycle.agents[name].show(projects=(access,))
    other = ProjectAccess("other", readonly=False, branches=[])
    hive.lifecycle.agents["manager"].show(projects=(other,))
    assert "agents      alice (read-only), bob-2\n" in (await hivectl("project", "show", "w")).out
    shown = (await hivectl("project", "show", "w", "--json")).json
    assert shown["agents"] == ["alice", "bob-2"]


async def test_a_project_is_changed(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.projects.projects["w"] = project("w")
    await hivectl("project", "set", "w", "--no-credential", "--public", "--forget-host-keys")
    await hivectl("project", "set", "w", "--source", URL, "--branch", "next", "--credential", "k")
    assert hive.projects.calls == [
        ("set", "w", SetOptions(credential="", private=False, forget_host_keys=True)),
        ("set", "w", SetOptions(URL, "next", "k")),
    ]
    for wrong in ([], ["--credential", "k", "--no-credential"]):
        assert (await hivectl("project", "set", "w", *wrong)).code == Exit.USAGE


async def test_a_removal_asks(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.projects.projects["w"] = project("w")
    assert (await hivectl("project", "remove", "w")).code == Exit.USAGE
    assert hive.projects.calls == []
    assert (await hivectl("project", "remove", "w", "--yes")).out == "w is removed\n"
    assert (await hivectl("project", "cancel", "w")).out == "the fetch of w is cancelled\n"
    assert hive.projects.calls == [("remove", "w"), ("cancel", "w")]


async def test_a_working_copy_is_reset(hive: FakeHive, hivectl: Hivectl) -> None:
    alice = hive.lifecycle.agents["alice"]
    alice.sentence = "/work/w is clean.\n\x1b[31m"
    ran = await hivectl("project", "reset", "alice", "w")
    assert (ran.code, alice.steered) == (Exit.OK, [("reset-project", "w")])
    assert ran.out.startswith("/work/w is clean.")
    assert_harmless(ran.out.strip())
    alice.refusal = Conflict("alice works on a turn.")
    ran = await hivectl("project", "reset", "alice", "w")
    assert (ran.code, ran.err) == (Exit.CONFLICT, "hivectl: alice works on a turn.\n")
