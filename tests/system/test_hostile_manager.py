"""A manager that sets traps in its repositories, on real units."""

import json
from collections.abc import Iterator
from subprocess import CompletedProcess

import pytest

from tests.system.hive import Hive
from tests.system.inside import clone_anew, decide, hivectl, inside, until_ended
from wire import names

pytestmark = pytest.mark.system

GIT = "/var/lib/hyperhive/git"
SPRUNG = f"{GIT}/applied/sprung"
"""A file that approvals and its children may write."""

COMMIT = """
set -e
cd /agents/alice
printf '\\n# %s\\n' "$1" >> agent.toml
git commit -qam "$1"
git rev-parse HEAD
"""
TRAPS = f"""
set -e
cd /agents/alice
for key in core.fsmonitor core.sshCommand core.pager core.alternateRefsCommand \
    uploadpack.packObjectsHook diff.external gpg.program; do
    git config $key 'touch {SPRUNG}'
done
git config core.hooksPath /agents/alice/traps
mkdir -p traps
for hook in post-index-change reference-transaction pre-auto-gc post-checkout; do
    printf '#!/bin/sh\\ntouch {SPRUNG}\\n' > traps/$hook
    chmod 755 traps/$hook
done
mkdir -p .git/objects/ab
mkfifo .git/objects/ab/11111111111111111111111111111111111111
echo /var/lib/hyperhive/git/applied/manager/objects > .git/objects/info/alternates
echo 'ref: refs/heads/loop' > .git/refs/heads/loop
"""


@pytest.fixture
def restored(swarm: Hive) -> Iterator[Hive]:
    """Clone alice's repository anew, before and afterwards, and deny what is pending."""
    clone_anew(swarm, "alice")
    yield swarm
    for approval in hivectl(swarm, "pending"):
        decide(swarm, "deny", approval["id"])
    clone_anew(swarm, "alice")


def approvals(hive: Hive, member: str, *arguments: str) -> CompletedProcess[str]:
    """Call approvals as the operator, who may also submit."""
    called = [names.APPROVALS, names.APPROVALS_PATH, names.APPROVALS, member, *arguments]
    return hive.run("busctl", "--json=short", "call", *called, check=False)


def submit(hive: Hive, commit: str) -> CompletedProcess[str]:
    return approvals(hive, "RequestApply", "sssa{sv}", "alice", commit, "more of all", "0")


def test_traps_are_not_sprung(restored: Hive) -> None:
    commit = inside(restored, "manager", "sh", "-c", COMMIT, "sh", "trapped").stdout.strip()
    inside(restored, "manager", "sh", "-c", TRAPS)
    # A git that is run there as approvals falls into them.
    git = ("git", "-c", "safe.directory=*", "-C", f"{GIT}/proposed/alice", "status")
    restored.run("runuser", "-u", "hive-approvals", "--", *git, check=False)
    restored.run("rm", SPRUNG)
    answer = submit(restored, commit)
    assert answer.returncode == 0, answer.stderr
    number = str(json.loads(answer.stdout)["data"][0])
    # The copy is ours, and stays when the manager's is lost.
    inside(restored, "manager", "rm", "-rf", "/agents/alice/.git/objects")
    assert "+# trapped" in approvals(restored, "Diff", "t", number).stdout
    approvals(restored, "Deny", "tss", number, commit, "no")
    assert until_ended(restored, int(number))["state"] == "denied"
    tags = inside(restored, "manager", "git", "--git-dir=/applied/alice", "tag").stdout.split()
    assert {f"proposal/{number}", f"denied/{number}"} <= set(tags)
    assert restored.run("test", "-e", SPRUNG, check=False).returncode == 1


def test_a_repository_that_leads_elsewhere_is_refused(restored: Hive) -> None:
    commit = inside(restored, "manager", "sh", "-c", COMMIT, "sh", "elsewhere").stdout.strip()
    script = "cd /agents/alice && mv .git .away && ln -s .away .git"
    inside(restored, "manager", "sh", "-c", script)
    answer = submit(restored, commit)
    assert "not a valid git repository" in answer.stderr
    assert hivectl(restored, "pending") == []
