"""An agent hands a change back, the operator reviews it, and it gets into upstream once."""

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from hivectl.exit_codes import Exit
from tests.system.hive import Hive
from tests.system.inside import call, configured, inside, refused, until_told
from tests.system.test_dashboard import Page

pytestmark = pytest.mark.system

UPSTREAM = "/srv/changes.git"
STATE = "/var/lib/hyperhive/projects"
UNIT = "hive-projects.service"
DROP_IN = f"/run/systemd/system/{UNIT}.d/upstream.conf"
FILE = 'projects = ["web"]'
IDENTITY = ("-c", "user.name=t", "-c", "user.email=t@t", "-c", "safe.directory=*")
SIGNED = {"Hive-Agent": "gina", "Approved-by": "operator"}


class Review:
    """The agent gina with the project web, and its upstream."""

    def __init__(self, hive: Hive) -> None:
        self.hive = hive

    def git(self, *arguments: str) -> str:
        """Run git in her working copy."""
        done = inside(self.hive, "gina", "git", "-C", "/work/web", *arguments)
        return str(done.stdout).strip()

    def commit(self, file: str, text: str) -> str:
        """Commit a file on top of what upstream has; return the commit."""
        # The harness fetches at the beginning of a turn, perhaps now: two cannot move origin/main.
        self.git("fetch", "-q", "--refmap=", "origin", "+main:refs/test/main")
        self.git("switch", "-q", "--detach", "refs/test/main")
        inside(self.hive, "gina", "tee", f"/work/web/{file}", stdin=text)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", f"change {file}")
        return self.git("rev-parse", "HEAD")

    def tool(self, name: str, **arguments: Any) -> Any:
        """Call a tool of hers, which succeeds; return its result."""
        answer = call(self.hive, "gina", name, **arguments)
        assert not refused(answer), answer
        return json.loads(answer["result"]["content"][0]["text"])

    def submitted(self, commit: str) -> str:
        return str(
            self.tool("submit_change", project="web", commit=commit, title="A page")["change"]
        )

    def hivectl(self, *arguments: str) -> Any:
        return json.loads(self.hive.hivectl(*arguments, "--json", timeout=120).stdout)

    def read(self, change: str) -> tuple[str, ...]:
        """Return the options that name what was read of a change."""
        shown = self.hivectl("diff", change)
        return ("--commit", shown["commit"], "--base", shown["base"])

    def upstream(self, *arguments: str) -> str:
        return self.hive.run("git", "-C", UPSTREAM, *IDENTITY, *arguments).stdout.strip()

    def move_upstream(self) -> str:
        """Add a commit to upstream of which the hive does not know."""
        made = self.upstream("commit-tree", "-p", "main", "-m", "theirs", "main^{tree}")
        self.upstream("update-ref", "refs/heads/main", made)
        return made


@pytest.fixture(scope="module")
def review(swarm: Hive) -> Iterator[Review]:
    swarm.run("rm", "-rf", UPSTREAM, "/srv/changes")
    swarm.run("git", "init", "-q", "-b", "main", "/srv/changes")
    swarm.run("tee", "/srv/changes/README", input="one\n")
    swarm.run("git", "-C", "/srv/changes", *IDENTITY, "add", "README")
    swarm.run("git", "-C", "/srv/changes", *IDENTITY, "commit", "-q", "-m", "first")
    swarm.run("git", "clone", "-q", "--bare", "/srv/changes", UPSTREAM)
    swarm.run("chown", "-R", "hive-projects:", UPSTREAM)
    swarm.run("mkdir", "-p", DROP_IN.rpartition("/")[0])
    swarm.run("tee", DROP_IN, input=f"[Service]\nReadWritePaths={UPSTREAM}\n")
    swarm.run("systemctl", "daemon-reload")
    swarm.run("systemctl", "restart", UNIT)
    swarm.hivectl("project", "add", "web", UPSTREAM, timeout=120)
    with configured(swarm, "gina", FILE, {}):
        yield Review(swarm)
    swarm.hivectl("project", "remove", "--yes", "web")
    swarm.run("rm", "-r", DROP_IN)
    swarm.run("systemctl", "daemon-reload")
    swarm.run("systemctl", "restart", UNIT)


def test_a_change_is_given_back_updated_and_merged(review: Review) -> None:
    change = review.submitted(review.commit("page", "one\n"))
    [listed] = review.hivectl("changes")
    assert (listed["id"], listed["agent"], listed["state"]) == (change, "gina", "open")
    assert "+one" in review.hive.hivectl("review", change).stdout
    comment = ("--note", "Nearly.", "--comment", "page:1", "Two, please.")
    review.hive.hivectl("request-changes", change, *comment)
    said = until_told(review.hive, "gina", "change", "The operator wants changes to")
    assert "page, line 1 (revision 1):\nTwo, please." in said
    assert review.tool("get_change", id=change)["comments"][1]["text"] == "Two, please."

    commit = review.commit("page", "two\n")
    assert review.tool("update_change", id=change, commit=commit)["revision"] == 2
    ended = review.hivectl("approve", change, *review.read(change))
    assert ended["state"] == "merged"
    assert review.upstream("rev-parse", "main") == ended["published"]
    assert review.upstream("show", "main:page") == "two"
    trailers = review.upstream("log", "-1", "--format=%(trailers)", "main")
    assert f"Hive-Change: {change}/2\nHive-Agent: gina\nHive-Commit: {commit}" in trailers
    until_told(review.hive, "gina", "change", f"is in the branch main as {ended['published'][:12]}")
    review.git("fetch", "-q", "--refmap=", "origin", "+main:refs/test/main")
    assert review.git("rev-parse", "refs/test/main") == ended["published"]


def test_a_reviewer_approves_on_the_page_what_it_showed(review: Review) -> None:
    change = review.submitted(review.commit("seen", "one\n"))
    number = change.removeprefix("c")
    with closing(Page(review.hive.hivectl("login-link", "--role=reviewer").stdout.strip())) as page:
        events = page.events()
        assert next(events) == {}
        tables = json.load(page.request("GET", "/api/state"))["tables"]
        assert tables["services"]["projects"]["reason"] == ""
        assert tables["projects"]["web"]["state"] == "ready"
        assert tables["changes"][number]["title"] == "A page"
        shown = json.load(page.request("GET", f"/api/changes/{number}/diff"))
        assert "+one" in shown["diff"]
        assert page.request("POST", "/api/projects/web/fetch").status == 403
        path = f"/api/changes/{number}"
        comment = {"text": "Good.", "path": "seen", "line": 1}
        assert page.request("POST", f"{path}/comment", comment).status == 200
        body = {"commit": shown["commit"], "base": "0" * 40}
        assert page.request("POST", f"{path}/approve", body).status == 409
        body["base"] = shown["base"]
        assert page.request("POST", f"{path}/approve", body).status == 200
        gone = (one for one in events if one["table"] == "changes" and number in one["remove"])
        assert next(gone)
    ended = json.loads(review.hive.hivectl("review", change, "--json").stdout)
    assert (ended["state"], ended["comments"][0]["text"]) == ("merged", "Good.")
    assert review.upstream("rev-parse", "main") == ended["published"]


def test_upstream_that_has_moved_makes_a_conflict(review: Review) -> None:
    change = review.submitted(review.commit("other", "one\n"))
    read = review.read(change)
    moved = review.move_upstream()
    done = review.hive.hivectl("approve", change, *read, check=False, timeout=120)
    assert done.returncode == Exit.CONFLICT
    assert f"{change} is conflict: Main of upstream has moved to {moved[:12]}" in done.stderr
    assert review.upstream("rev-parse", "main") == moved
    until_told(review.hive, "gina", "change", "was approved, but main of upstream has moved")
    review.tool("update_change", id=change, commit=review.commit("other", "one\n"))
    assert review.hivectl("approve", change, *review.read(change))["state"] == "merged"


def test_a_killed_service_pushes_once(review: Review) -> None:
    change = review.submitted(review.commit("killed", "one\n"))
    read = review.read(change)
    before = review.upstream("rev-parse", "main")
    review.hive.hivectl("approve", change, *read, "--no-wait")
    review.hive.run("systemctl", "kill", "--signal=KILL", UNIT)
    until_told(review.hive, "gina", "change", f"{change} of web (A page) was approved, and is in")
    log = review.upstream("log", "--first-parent", "--format=%P", "main").split("\n")
    assert log[0].split()[0] == before, "one commit was pushed"


def test_others_submit_nothing_and_a_link_is_refused(review: Review) -> None:
    answer = call(
        review.hive, "alice", "submit_change", project="web", commit="1234567", title="Mine"
    )
    assert "You do not have the project 'web'. You have no projects." in json.dumps(answer)
    review.git("switch", "-q", "--detach", "origin/main")
    inside(review.hive, "gina", "ln", "-s", "/etc/shadow", "/work/web/out")
    review.git("add", "out")
    review.git("commit", "-q", "-m", "out")
    commit = review.git("rev-parse", "HEAD")
    answer = call(review.hive, "gina", "submit_change", project="web", commit=commit, title="Out")
    assert refused(answer)
    assert "leads to '/etc/shadow', out of the repository" in json.dumps(answer)


def test_git_is_confined_and_nobody_else_reads_working_copies(review: Review) -> None:
    journal = review.hive.run("journalctl", "--no-pager", "-o", "cat", "-u", UNIT).stdout
    assert "cannot be confined" not in journal
    work = "/var/lib/hyperhive/agents/gina/work"
    for user, allowed in (("hive-projects", True), ("hive-agents", False), ("nobody", False)):
        done = review.hive.run("runuser", "-u", user, "--", "ls", work, check=False)
        assert (done.returncode == 0) == allowed, user
    state = ("runuser", "-u", "hive-projects", "--", "ls", work.replace("work", "state"))
    assert review.hive.run(*state, check=False).returncode != 0
