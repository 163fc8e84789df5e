"""An agent whose container nixos-container made becomes an agent of the hive.

The container is made up: its files are as nixos-container and the original leave them, and a unit
of its name runs a program that sleeps.
"""

import json
from collections.abc import Iterator

import pytest

from tests.system.hive import PYTHON, Hive
from tests.system.inside import APPLIED, hivectl, inside

pytestmark = [pytest.mark.system, pytest.mark.long]

KEY = "sk-ant-" + "k" * 20
UNIT = "container@h-dora.service"
CREDENTIALS = "/etc/hyperhive/credentials/gateway/agents/dora"
OWN = "/var/lib/hyperhive/agents/dora"
OLD = "/var/lib/hive/agents/dora"
MAKE = f"""
mkdir -p /etc/nixos-containers /var/lib/nixos-containers/h-dora/root /srv/original/agents/dora
cat > /etc/nixos-containers/h-dora.conf <<'END'
PRIVATE_NETWORK=0
AUTO_START=0
EXTRA_NSPAWN_FLAGS="--bind={OLD}/claude:/root/.claude --bind={OLD}/state:/state"
END
echo 'EXTRA_NSPAWN_FLAGS="--bind-ro=/var/lib/hive/applied:/applied"' \\
  > /etc/nixos-containers/hm1nd.conf
cd /var/lib/nixos-containers/h-dora/root
echo '{{"primaryApiKey": "{KEY}"}}' > .claude.json
echo '[user]' > .gitconfig
cd /srv/original/agents/dora
mkdir -p claude/projects state/work
echo '{{}}' > claude/.credentials.json
echo remember > state/notes.md
echo old > state/hyperhive-events.sqlite
ln -s /etc/shadow state/link
mkfifo state/pipe
chown 1000:100 state/work
export HOME=/nonexistent
export GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t GIT_COMMITTER_NAME=t GIT_COMMITTER_EMAIL=t
git init --quiet --initial-branch=main /srv/original/applied/dora
cd /srv/original/applied/dora
echo '{{ }}' > agent.nix
git add agent.nix
git commit --quiet -m first
git tag deployed/1
systemd-run --quiet --unit={UNIT} sleep infinity
"""
REMOVE = f"""
systemctl stop {UNIT} 2>/dev/null
rm -rf /etc/nixos-containers /var/lib/nixos-containers /srv/original {CREDENTIALS}*
"""


@pytest.fixture
def original(hive: Hive) -> Iterator[Hive]:
    """Make the container of dora, and remove all of it at the end."""
    hive.run("bash", "-euc", MAKE)
    yield hive
    hive.hivectl("destroy", "dora", "--purge", "--yes", check=False, timeout=120)
    hive.run("bash", "-c", REMOVE)


def test_an_agent_of_the_original_is_taken_over(original: Hive) -> None:
    moved = ("--moved", "/var/lib/hive", "/srv/original")
    without = original.hivectl("import-nixos", "dora", "--dry-run", check=False)
    assert without.returncode == 3
    assert "say so with --moved" in without.stderr
    plan = hivectl(original, "import-nixos", "dora", "--dry-run", *moved)
    assert plan["running"]
    assert plan["login"]
    assert plan["key"]
    assert plan["history"] == "/srv/original/applied/dora"
    assert plan["left_out"] == ["/srv/original/agents/dora/state/pipe: a pipe"]
    assert original.run("test", "-e", OWN, check=False).returncode == 1
    # An import that was killed before it could spawn the agent.
    tool = (PYTHON, "-I", "-m", "services.lifecycle.nixos_import")
    original.run(*tool, "copy", "dora", *moved)
    original.run(*tool, "publish", "dora")

    imported = hivectl(original, "import-nixos", "dora", "--yes", *moved, timeout=180)

    assert imported["history"] == ["heads/main", "tags/deployed/1"]
    assert original.run("systemctl", "is-active", UNIT, check=False).returncode != 0
    assert inside(original, "dora", "cat", "/state/notes.md").stdout == "remember\n"
    assert inside(original, "dora", "cat", "/root/.gitconfig").stdout == "[user]\n"
    assert inside(
        original, "dora", "cat", "/state/before-import/hyperhive-events.sqlite"
    ).stdout == ("old\n")
    shown = ("stat", "-c", "%u:%g", "/root/.claude/.credentials.json", "/state/work", "/state")
    assert inside(original, "dora", *shown).stdout.split() == ["0:0", "1000:100", "0:0"]
    assert inside(original, "dora", "readlink", "/state/link").stdout == "/etc/shadow\n"
    assert KEY not in inside(original, "dora", "cat", "/root/.claude.json").stdout
    assert original.run("sh", "-c", f"ls {CREDENTIALS}*").stdout.startswith(CREDENTIALS)
    git = ("runuser", "-u", "hive-approvals", "--", "git", f"--git-dir={APPLIED}/dora")
    shown_file = original.run(*git, "show", "imported/tags/deployed/1:agent.nix")
    assert shown_file.stdout == "{ }\n"
    assert original.run(*git, "tag", "--points-at", "main").stdout == "deployed/0\n"
    assert json.loads(original.run("cat", f"{OWN}/import.json").stdout) == {"finished": True}
    assert original.run("ls", "-A", "/var/lib/hyperhive/git/imports").stdout == ""
    assert ".import" not in original.run("ls", "-A", "/var/lib/hyperhive/agents").stdout
    again = hivectl(original, "import-nixos", "dora", "--yes", *moved)
    assert again == {"agent": "dora", "imported": False}
