"""An agent with a project: its working copy, the news, a reset; and agents without it."""

import subprocess
from collections.abc import Iterator

import pytest

from hivectl.exit_codes import Exit
from tests.system.hive import Hive
from tests.system.inside import (
    commit_file,
    configured,
    events,
    hivectl,
    inside,
    probe,
    property_of,
    reconfigure,
    wait_for_inbox,
)

pytestmark = pytest.mark.system

SOURCE = "/srv/inside"
DATA = "/var/lib/hyperhive/agents"
STATE = "/var/lib/hyperhive/projects"
FILE = 'projects = [{ name = "web", branches = ["hive/*"] }]'
IDENTITY = ("-c", "user.name=t", "-c", "user.email=t@t", "-c", "safe.directory=*")


def upstream(hive: Hive, file: str, text: str) -> None:
    """Commit a file upstream, and have the hive fetch it."""
    git = ("git", "-C", SOURCE, *IDENTITY)
    hive.run("tee", f"{SOURCE}/{file}", input=text)
    hive.run(*git, "add", "-A")
    hive.run(*git, "commit", "-q", "-m", "a change")


@pytest.fixture(scope="module")
def erin(swarm: Hive) -> Iterator[Hive]:
    """Add the agent erin, who has the project web; there is another one, docs."""
    swarm.run("rm", "-rf", SOURCE)
    swarm.run("git", "init", "-q", "-b", "main", SOURCE)
    upstream(swarm, "AGENTS.md", "Speak of honey.\n")
    for name in ("web", "docs"):
        swarm.hivectl("project", "add", name, SOURCE, timeout=120)
    with configured(swarm, "erin", FILE, {}):
        yield swarm
    for name in ("web", "docs"):
        swarm.hivectl("project", "remove", "--yes", name)


def git(hive: Hive, *arguments: str) -> str:
    return str(inside(hive, "erin", "git", "-C", "/work/web", *arguments).stdout).strip()


def asked(hive: Hive, variable: str) -> str:
    """Let erin have a turn with a command; return what she says."""
    hive.hivectl("send", "erin", f"what is ${variable}")
    return str(wait_for_inbox(hive, f"{variable} is", "erin")["body"])


def refused(hive: Hive, agent: str, *command: str) -> str:
    done: subprocess.CompletedProcess[str] = inside(hive, agent, *command, check=False)
    assert done.returncode != 0, command
    return done.stderr


def test_an_agent_works_in_its_copy_and_hears_of_moves(erin: Hive) -> None:
    assert "PWD is /work/web" in asked(erin, "PWD")
    prompt = inside(erin, "erin", "cat", "/run/hive-harness/prompt.md").stdout
    assert "You work on the project `web`." in prompt
    assert "Speak of honey." in prompt
    git(erin, "switch", "-q", "-c", "hive/topic")
    inside(erin, "erin", "tee", "/work/web/AGENTS.md", stdin="Mine.\n")
    git(erin, "commit", "-q", "-a", "-m", "mine")
    assert git(erin, "log", "--format=%an: %s") == "erin: mine\nt: a change"
    assert "in-pack: 0" in git(erin, "count-objects", "-v")

    upstream(erin, "AGENTS.md", "Theirs.\n")
    erin.hivectl("project", "fetch", "web", timeout=120)
    asked(erin, "PWD")
    prompt = events(erin, "erin", "wake")[-1]["data"]["prompt"]
    assert "`main` of the project web has moved from" in prompt
    assert "with its commit, conflicts with `origin/main` in `AGENTS.md`" in prompt

    said = erin.hivectl("project", "reset", "erin", "web", timeout=160).stdout
    kept = git(erin, "for-each-ref", "--format=%(refname)", "refs/hive/kept")
    assert kept in said
    assert git(erin, "rev-parse", "HEAD") == git(erin, "rev-parse", "origin/main")
    assert git(erin, "show", f"{kept}:AGENTS.md") == "Mine."


def test_the_repository_is_read_only_and_others_see_nothing(erin: Hive) -> None:
    assert "Read-only" in refused(erin, "erin", "touch", "/projects/web.git/x")
    refused(erin, "erin", "mount", "-o", "remount,bind,rw", "/projects/web.git")
    refused(erin, "erin", "sh", "-c", "umount /projects/web.git && touch /projects/web.git/x")
    refused(erin, "erin", "git", "-C", "/work/web", "push", "-q", "origin", "HEAD:refs/heads/x")
    assert inside(erin, "erin", "ls", "/projects").stdout == "web.git\n"
    refused(erin, "erin", "ls", STATE)
    refused(erin, "alice", "ls", "/projects")
    assert inside(erin, "alice", "ls", "-A", "/work").stdout == ""
    owner = erin.run("stat", "-c", "%U", f"{STATE}/web/upstream.git/HEAD").stdout
    assert owner == "hive-projects\n"


def test_the_operator_sees_who_has_it_and_cannot_remove_it(erin: Hive) -> None:
    assert property_of(erin, "erin", "Projects") == [["web", False, ["hive/*"]]]
    assert hivectl(erin, "status", "erin")["projects"][0]["project"] == "web"
    removed = erin.hivectl("project", "remove", "--yes", "web", check=False)
    assert removed.returncode == Exit.CONFLICT
    assert "web is in the agent.toml of erin" in removed.stderr


def test_a_project_that_does_not_exist_is_not_deployed(erin: Hive) -> None:
    invocation = property_of(erin, "erin", "InvocationId")
    answer = probe(erin, "deploy", "erin", commit_file(erin, "erin", 'projects = ["none"]'))
    assert answer["result"] == "failed"
    assert "names the project none, which has no repository on this host" in answer["note"]
    assert property_of(erin, "erin", "InvocationId") == invocation


@pytest.mark.long
def test_a_copy_survives_the_agent_and_ends_with_its_data(erin: Hive) -> None:
    with configured(erin, "fred", FILE, {}):
        inside(erin, "fred", "touch", "/work/web/mine")
        erin.hivectl("destroy", "fred", "--yes", timeout=120)
        assert erin.run("ls", f"{DATA}/fred/work/web").stdout == "AGENTS.md\nmine\n"
        erin.hivectl("spawn", "fred", timeout=120)
        assert "?? mine" in inside(erin, "fred", "git", "-C", "/work/web", "status", "-s").stdout
        reconfigure(erin, "fred", "")
        refused(erin, "fred", "ls", "/projects")
        assert (
            inside(erin, "fred", "git", "-C", "/work/web", "fsck", "--full", "--no-dangling").stdout
            == ""
        )
    assert erin.run("ls", DATA).stdout.count("fred") == 0
