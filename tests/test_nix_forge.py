"""The forge: its module, and its two scripts with real git and a stand-in for Forgejo."""

import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from services.config import Config
from tests.nix import ROOT, evaluate, needs_nix

SCRIPTS = ROOT / "nix/forge"

FORGEJO = """\
#!/bin/sh
# accounts are lines of a file; `taken` is a name that the forge refuses.
state=$(dirname "$0")/state
[ "$(id -un)" = nobody ] || exit 3
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
SYSTEMCTL = """\
#!/bin/sh
echo "$*" >> "$(dirname "$0")/units"
"""
EVENTS = "http://127.0.0.7:7003/hooks/forge"


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
    accounts = services["hive-forge-accounts"]
    assert accounts["serviceConfig"]["ExecStart"].endswith("accounts.sh 'alice'")
    assert "User" not in accounts["serviceConfig"], "systemd would read the files of Forgejo's user"
    assert accounts["environment"]["events"] == EVENTS
    # Users' own webhooks reach no service that listens on 127.0.0.1.
    assert settings["webhook"]["ALLOWED_HOST_LIST"] == "127.0.0.7"
    read = Config.model_validate(found["file"])
    assert (read.forge.url, read.forge.account("alice")) == ("http://127.0.0.1:7002", "alice")
    rules = found["config"]["systemd"]["tmpfiles"]["rules"]
    tokens = "/var/lib/hive-forge/tokens"
    assert {rule for rule in rules if "/credentials/forge/" in rule} == {
        f"L+ /etc/hyperhive/credentials/forge/agents/alice - - - - {tokens}/alice",
        f"L+ /etc/hyperhive/credentials/forge/webhook - - - - {tokens}/webhook",
    }
    sockets = found["config"]["systemd"]["sockets"]
    assert sockets["hive-forge"]["listenStreams"] == ["", "127.0.0.7:7003"]
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
        (with_forge('agents = [ "alice" "webhook" ];'), "an agent called webhook"),
        ("{ services.hive-forge.enable = true; }", "needs services.hyperhive.enable"),
    ],
)
def test_a_forge_that_cannot_work_is_refused(settings: str, sentence: str, tmp_path: Path) -> None:
    found = evaluate(tmp_path, settings, "default", "forge")
    [message] = [one["message"] for one in found["config"]["assertions"] if not one["assertion"]]
    assert sentence in message


class Hooks(ThreadingHTTPServer):
    """The webhooks of a stand-in for Forgejo, whose only user is hive."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), HooksHandler)
        self.hooks: dict[int, Any] = {7: {"config": {"url": "http://example.org"}}}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def ours(self) -> list[Any]:
        return [hook for hook in self.hooks.values() if hook["config"]["url"] == EVENTS]


class HooksHandler(BaseHTTPRequestHandler):
    server: Hooks

    def _handle(self) -> None:
        assert self.headers["Authorization"] == "token token-of-hive"
        path, _, last = self.path.partition("/hooks/")
        assert path in ("/api/v1/admin", "/api/v1/admin/hooks")
        length = int(self.headers["Content-Length"] or 0)
        match self.command:
            case "POST":
                self.server.hooks[len(self.server.hooks) + 10] = json.loads(self.rfile.read(length))
            case "DELETE":
                del self.server.hooks[int(last)]
        shown = [{"id": id, **hook} for id, hook in self.server.hooks.items()]
        body = json.dumps(shown).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_DELETE = _handle  # noqa: N815 - the names of the library

    def log_message(self, *_words: Any) -> None:
        """Say nothing."""


@pytest.fixture
def hooks() -> Iterator[Hooks]:
    with Hooks() as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield server
        server.shutdown()
        serving.join()


@pytest.fixture
def forgejo() -> Iterator[Path]:
    """A directory with a stand-in for the program of Forgejo, which has no account yet.

    Another user runs the program, and cannot enter the directories of pytest.
    """
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "bin").mkdir()
        for program, text in (("forgejo", FORGEJO), ("systemctl", SYSTEMCTL)):
            (folder / "bin" / program).write_text(text)
            (folder / "bin" / program).chmod(0o755)
        (folder / "bin/state").touch()
        shutil.chown(folder / "bin/state", "nobody")
        (folder / "tokens").mkdir(mode=0o700)
        yield folder


def accounts(folder: Path, hooks: Hooks, *names: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", SCRIPTS / "accounts.sh", *names],
        env={
            "PATH": f"{folder}/bin:{os.environ['PATH']}",
            "tokens": str(folder / "tokens"),
            "forge": hooks.url,
            "events": EVENTS,
            "forge_user": "nobody",
            "forge_group": "nogroup",
        },
        capture_output=True,
        text=True,
    )


def test_each_agent_gets_an_account_and_a_token_once(forgejo: Path, hooks: Hooks) -> None:
    for _ in range(2):
        done = accounts(forgejo, hooks, "alice", "bob")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    made = (forgejo / "bin/state").read_text().splitlines()
    assert [line.split()[0] for line in made] == ["hive", "alice", "bob"]
    assert [line.split()[0] for line in made if "--admin" in line] == ["hive"]
    for name in ("hive", "alice", "bob"):
        token = forgejo / "tokens" / name
        assert token.read_text() == f"token-of-{name}\n"
        status = token.stat()
        assert (status.st_mode & 0o777, status.st_uid) == (0o600, os.getuid())


def test_the_forge_sends_its_events_with_a_secret(forgejo: Path, hooks: Hooks) -> None:
    for _ in range(2):
        assert accounts(forgejo, hooks, "alice").returncode == 0
    secret = (forgejo / "tokens/webhook").read_text()
    assert re.fullmatch("[0-9a-f]{64}", secret)
    [hook] = hooks.ours
    assert hook["config"] == {
        "url": EVENTS,
        "content_type": "json",
        "secret": secret,
        "is_system_webhook": "true",
    }
    assert (hook["events"], hook["active"]) == (["issues", "pull_request"], True)
    assert len(hooks.hooks) == 2, "other webhooks stay"
    assert sorted(path.name for path in (forgejo / "tokens").iterdir()) == [
        *("alice", "hive", "webhook")
    ]
    units = (forgejo / "bin/units").read_text().splitlines()
    assert units.count("--no-block stop hive-gateway@alice.service") == 1
    assert units.count("--no-block stop hive-forge.service") == 1
    assert units.count("--no-block start hive-forge.socket") == 2
    # A secret that is lost cannot be read from the forge: the webhook gets another one.
    (forgejo / "tokens/webhook").unlink()
    assert accounts(forgejo, hooks, "alice").returncode == 0
    [hook] = hooks.ours
    assert hook["config"]["secret"] == (forgejo / "tokens/webhook").read_text() != secret


def test_an_account_that_fails_keeps_no_other_from_its_token(forgejo: Path, hooks: Hooks) -> None:
    done = accounts(forgejo, hooks, "taken", "broken", "bob")
    assert done.returncode == 1
    assert "The account taken could not be created: name is reserved" in done.stderr
    assert "No token for the account broken could be made." in done.stderr
    assert sorted(path.name for path in (forgejo / "tokens").iterdir()) == [
        "bob",
        "hive",
        "webhook",
    ]


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
