"""The forge: its module, and its two scripts with real git and a stand-in for Forgejo."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.nix import ROOT, evaluate, needs_nix

SCRIPTS = ROOT / "nix/forge"

FORGEJO = """\
#!/bin/sh
# accounts are lines of a file; `taken` is a name that the forge refuses.
state=$(dirname "$0")/state
case "$2 $3" in
"user list") echo "ID Username Email"; awk '{ print NR, $1 }' "$state" ;;
"user create")
    shift 3
    [ "$2" != taken ] || { echo "name is reserved [name: taken]" >&2; exit 1; }
    echo "$2 $*" >> "$state"
    echo "generated random password is 'secret'" ;;
"user generate-access-token")
    [ "$5" != broken ] || exit 1
    echo "token-of-$5" ;;
*) exit 2 ;;
esac
"""


def with_forge(settings: str = "") -> str:
    return (
        "{ services.hyperhive = { enable = true; agents.alice = { }; };"
        f" services.hive-forge = {{ enable = true; {settings} }}; }}"
    )


@needs_nix
def test_the_forge_is_forgejo_on_the_loopback_with_the_agents(tmp_path: Path) -> None:
    found = evaluate(tmp_path, with_forge(), "default", "forge")
    forgejo, services = found["forgejo"], found["config"]["systemd"]["services"]
    # The current release line, not the one with long-term support.
    assert Path(forgejo["package"]).name.endswith("-forgejo-15.0")
    settings = forgejo["settings"]
    assert settings["server"]["HTTP_ADDR"] == "127.0.0.1"
    assert settings["server"]["ROOT_URL"] == "http://127.0.0.1:7002/"
    assert settings["service"]["DISABLE_REGISTRATION"]
    assert settings["service"]["REQUIRE_SIGNIN_VIEW"]
    assert not settings["service"]["ENABLE_REVERSE_PROXY_AUTHENTICATION"]
    started = services["hive-forge-accounts"]["serviceConfig"]["ExecStart"]
    assert started.endswith("accounts.sh 'alice'")
    watched = found["config"]["systemd"]["paths"]["hive-forge-mirror"]["pathConfig"]
    assert watched == {"PathChanged": "/var/lib/hyperhive/git/meta/.git/refs/heads"}
    assert [one["message"] for one in found["config"]["assertions"] if not one["assertion"]] == []


@needs_nix
@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (with_forge('address = "192.0.2.1";'), "hive-forge.address = 192.0.2.1 can be reached"),
        (with_forge('userHeader = "Remote-User";'), "userHeader needs behindProxy and trusted"),
        (with_forge('agents = [ "hive" ];'), "an agent called hive"),
        ("{ services.hive-forge.enable = true; }", "needs services.hyperhive.enable"),
    ],
)
def test_a_forge_that_cannot_work_is_refused(settings: str, sentence: str, tmp_path: Path) -> None:
    found = evaluate(tmp_path, settings, "default", "forge")
    [message] = [one["message"] for one in found["config"]["assertions"] if not one["assertion"]]
    assert sentence in message


@pytest.fixture
def forgejo(tmp_path: Path) -> Path:
    """A directory with a stand-in for the program of Forgejo, which has no account yet."""
    program = tmp_path / "bin/forgejo"
    program.parent.mkdir()
    program.write_text(FORGEJO)
    program.chmod(0o755)
    (program.parent / "state").touch()
    (tmp_path / "tokens").mkdir()
    return tmp_path


def accounts(folder: Path, *names: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", SCRIPTS / "accounts.sh", *names],
        env={"PATH": f"{folder}/bin:{os.environ['PATH']}", "tokens": str(folder / "tokens")},
        capture_output=True,
        text=True,
    )


def test_each_agent_gets_an_account_and_a_token_once(forgejo: Path) -> None:
    for _ in range(2):
        done = accounts(forgejo, "alice", "bob")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    made = (forgejo / "bin/state").read_text().splitlines()
    assert [line.split()[0] for line in made] == ["hive", "alice", "bob"]
    assert [line.split()[0] for line in made if "--admin" in line] == ["hive"]
    for name in ("hive", "alice", "bob"):
        token = forgejo / "tokens" / name
        assert token.read_text() == f"token-of-{name}\n"
        assert token.stat().st_mode & 0o777 == 0o600


def test_an_account_that_fails_keeps_no_other_from_its_token(forgejo: Path) -> None:
    done = accounts(forgejo, "taken", "broken", "bob")
    assert done.returncode == 1
    assert "The account taken could not be created: name is reserved" in done.stderr
    assert "No token for the account broken could be made." in done.stderr
    assert sorted(path.name for path in (forgejo / "tokens").iterdir()) == ["bob", "hive"]


def git(folder: Path, *arguments: str) -> str:
    environment = {
        **os.environ,
        **dict.fromkeys(("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"), "ann"),
        **dict.fromkeys(("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"), "ann@localhost"),
    }
    command = ["git", "-C", str(folder), *arguments]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repositories(tmp_path: Path) -> Path:
    """The repositories as approvals keeps them: meta has a work tree, the others are bare."""
    folder = tmp_path / "git"
    meta, alice = folder / "meta", folder / "applied/alice"
    for place, kind in ((meta, ()), (alice, ("--bare",))):
        place.mkdir(parents=True)
        git(place, "init", "--quiet", "--initial-branch=main", *kind)
    git(meta, "commit", "--quiet", "--allow-empty", "-m", "Begin")
    git(meta, "push", "--quiet", str(alice), "main")
    git(alice, "tag", "approved/1", "main")
    return folder


def mirror(repositories: Path, url: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", SCRIPTS / "mirror.sh", repositories, url],
        env={"PATH": os.environ["PATH"], "CREDENTIALS_DIRECTORY": "/nonexistent"},
        capture_output=True,
        text=True,
    )


def test_the_history_of_all_agents_is_pushed_to_the_forge(
    repositories: Path, tmp_path: Path
) -> None:
    forge = tmp_path / "forge"
    for name in ("meta", "agent-alice"):
        (forge / f"hive/{name}.git").mkdir(parents=True)
        git(forge / f"hive/{name}.git", "init", "--quiet", "--bare")
    done = mirror(repositories, f"file://{forge}")
    assert (done.returncode, done.stderr) == (0, "")
    commit = git(repositories / "meta", "rev-parse", "main")
    assert git(forge / "hive/agent-alice.git", "rev-parse", "approved/1") == commit
    # A revert moves the branch back.
    git(repositories / "meta", "commit", "--quiet", "--amend", "--allow-empty", "-m", "Other")
    assert mirror(repositories, f"file://{forge}").returncode == 0
    moved = git(repositories / "meta", "rev-parse", "main")
    assert git(forge / "hive/meta.git", "rev-parse", "main") == moved != commit


def test_a_repository_that_fails_keeps_no_other_from_the_forge(
    repositories: Path, tmp_path: Path
) -> None:
    forge = tmp_path / "forge"
    (forge / "hive/agent-alice.git").mkdir(parents=True)
    git(forge / "hive/agent-alice.git", "init", "--quiet", "--bare")
    done = mirror(repositories, f"file://{forge}")
    assert done.returncode == 1
    assert f"{repositories}/meta could not be pushed" in done.stderr
    assert git(forge / "hive/agent-alice.git", "rev-parse", "main")
