"""Projects on a real host: a forge over ssh and https, the sandbox, kills, timer and webhooks."""

import hmac
import json
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from services.projects.tests.forge import NAME, TOKEN
from tests.system.hive import PYTHON, REPO, Hive
from wire import names

pytestmark = pytest.mark.system

FORGE = Path(__file__).parent / "probes/git_forge.py"
ROOT = "/srv/projects"
CREDENTIALS = "/etc/hyperhive/credentials/projects"
STATE = "/var/lib/hyperhive/projects"
UNIT = "hive-projects.service"


class Forge:
    """The forge in the sandbox, and projects that are fetched from it."""

    def __init__(self, hive: Hive, server: "subprocess.Popen[str]", told: dict[str, Any]) -> None:
        self.hive, self._server, self.told = hive, server, told

    def ssh(self, name: str) -> str:
        return f"ssh://git@{NAME}:{self.told['ssh']}{ROOT}/{name}.git"

    def https(self, path: str) -> str:
        return f"https://{NAME}:{self.told['https']}/{path}"

    def until_asked(self) -> None:
        """Wait until a slow repository is asked for."""
        assert self._server.stdout is not None
        assert self._server.stdout.readline() == "asked\n"

    def go_on(self) -> None:
        """Serve the slow repositories."""
        assert self._server.stdin is not None
        self._server.stdin.write("\n")
        self._server.stdin.flush()

    def project(self, *arguments: str, check: bool = True) -> Any:
        """Run `hivectl project`, and return what it prints; without `check` its complaint."""
        done = self.hive.hivectl("project", *arguments, "--json", check=check, timeout=120)
        return json.loads(done.stdout) if done.returncode == 0 else done.stderr

    def commit(self) -> str:
        """Add a commit to the repository website; return it."""
        git = ("git", f"--git-dir={ROOT}/website.git", "-c", "user.name=t", "-c", "user.email=t@t")
        tree = self.hive.run(*git, "rev-parse", "main^{tree}").stdout.strip()
        made = self.hive.run(*git, "commit-tree", "-p", "main", "-m", "more", tree).stdout.strip()
        self.hive.run(*git, "update-ref", "refs/heads/main", made)
        return made


@pytest.fixture(scope="module")
def forge(hive: Hive) -> Iterator[Forge]:
    bundle = "/etc/ssl/certs/ca-certificates.crt"
    hive.run("sh", "-c", f"echo '127.0.0.1 {NAME}' >> /etc/hosts")
    hive.run("rm", "-rf", ROOT)
    server = hive.popen(PYTHON, "-B", str(FORGE), str(REPO), ROOT, stdin=subprocess.PIPE)
    with server:
        assert server.stdout is not None
        told = json.loads(server.stdout.readline())
        hive.hivectl("credentials", "set", "--project", "key", input=told["key"])
        hive.hivectl("credentials", "set", "--project", "token", input=f"{TOKEN}\n")
        hive.run("sh", "-c", f"cp {bundle} /root/bundle; cat {ROOT}/authority.pem >> {bundle}")
        hive.run("systemctl", "restart", UNIT)
        try:
            yield Forge(hive, server, told)
        finally:
            for one in json.loads(hive.hivectl("project", "list", "--json").stdout):
                hive.hivectl("project", "remove", "--yes", one["name"])
            hive.run(
                "sh",
                "-c",
                f"cat /root/bundle > {bundle}; rm -f {CREDENTIALS}/* {CREDENTIALS}.cred/*",
            )
            hive.run("systemctl", "restart", UNIT)
            server.kill()


def test_a_project_is_fetched_over_ssh_with_a_key(forge: Forge) -> None:
    hive = forge.hive
    refused = forge.project("add", "web", forge.ssh("website"), "--credential", "key", check=False)
    assert f"{NAME} leads to 127.0.0.1, which is not an address of the public internet" in refused
    found = forge.project("set", "web", "--private")
    assert (found["state"], found["branch"]) == ("ready", "main")
    shown = forge.project("show", "web")
    assert shown["host_keys"] == [forge.told["fingerprint"]]
    assert shown["branches"][0]["subject"] == "a change"
    listed = hive.run("stat", "-c", "%U %a", f"{STATE}", f"{STATE}/web").stdout
    assert listed == "hive-projects 700\n" * 2
    # Lifecycle can show this directory to a container.
    assert hive.run("stat", "-c", "%a", f"{STATE}/web/upstream.git").stdout == "755\n"


def test_a_project_is_fetched_over_https_with_a_token_that_nobody_sees(forge: Forge) -> None:
    hive = forge.hive
    source = forge.https("secret/website.git")
    found = forge.project("add", "secret", source, "--credential", "token", "--private")
    assert found["state"] == "ready"
    places = (STATE, "/run/hyperhive", "/var/lib/hyperhive/agents")
    assert hive.run("grep", "-r", TOKEN, *places, check=False).stdout == ""
    journal = hive.run("journalctl", "--no-pager", "-o", "cat", "-u", UNIT).stdout
    assert "secret could not be fetched" not in journal
    assert TOKEN not in journal
    other = ("systemd-run", "--quiet", "--pipe", "--wait", "--uid=hive-agents")
    file = f"/run/credentials/{UNIT}/projects.cred_token"
    assert hive.run("cat", file).stdout.strip() == TOKEN
    assert hive.run("grep", "-r", TOKEN, "/etc/hyperhive", check=False).stdout == ""
    assert hive.run(*other, "cat", file, check=False).returncode != 0


def test_a_credential_of_another_host_is_named_and_can_be_removed(forge: Forge) -> None:
    hive = forge.hive
    stored = json.loads(hive.hivectl("credentials", "list", "--json").stdout)
    assert [
        (one["project"], one["encrypted"], one["valid"]) for one in stored if one["project"]
    ] == [
        ("key", True, True),
        ("token", True, True),
    ]
    hive.run(
        "sh", "-c", f"printf broken > {CREDENTIALS}.cred/old; printf half > {CREDENTIALS}.cred/.x"
    )
    assert hive.run("systemctl", "restart", UNIT, check=False).returncode != 0
    listed = hive.hivectl("credentials", "list").stdout
    assert "this host cannot decrypt it, so hive-projects does not start" in " ".join(
        listed.split()
    )
    hive.hivectl("credentials", "remove", "--yes", "--project", "old")
    hive.run("systemctl", "restart", UNIT)
    hive.run("rm", f"{CREDENTIALS}.cred/.x")


def test_a_killed_service_fetches_again(forge: Forge) -> None:
    hive = forge.hive
    forge.project(
        *("add", "slow", forge.ssh("slow"), "--credential", "key", "--private", "--no-wait")
    )
    forge.until_asked()
    hive.run("systemctl", "kill", "--signal=KILL", UNIT)
    forge.until_asked()
    forge.go_on()
    assert forge.project("fetch", "slow")["state"] == "ready"
    left = hive.run("find", f"{STATE}/slow", "-name", "*.lock", "-o", "-name", "tmp_*").stdout
    assert left == ""


@contextmanager
def changes(hive: Hive, name: str) -> Iterator[Iterator[str]]:
    """Yield the states that a project gets from now on."""
    rule = f"type='signal',interface='{names.PROJECTS}',member='ProjectChanged',arg0='{name}'"
    with hive.popen("busctl", "monitor", "--json=short", f"--match={rule}") as monitor:
        assert monitor.stderr is not None
        assert monitor.stdout is not None
        assert "Monitoring" in monitor.stderr.readline()
        yield (json.loads(line)["payload"]["data"][1] for line in monitor.stdout)
        monitor.kill()


def test_the_timer_fetches_all(forge: Forge) -> None:
    hive = forge.hive
    forge.project("add", "local", f"{ROOT}/website.git")
    made = forge.commit()
    assert hive.run("systemctl", "is-active", "hive-fetch.timer").stdout == "active\n"
    with changes(hive, "local") as states:
        hive.run("systemctl", "start", "hive-fetch.service")
        assert (next(states), next(states)) == ("fetching", "ready")
    assert forge.project("show", "local")["commit"] == made


def test_a_webhook_at_the_dashboard_fetches_at_once(forge: Forge) -> None:
    hive = forge.hive
    forge.project("add", "hooked", f"{ROOT}/website.git")
    secret = "a-secret-of-the-forge"
    hive.hivectl("credentials", "set", "--webhook", "hooked", input=f"{secret}\n")
    hive.run("systemctl", "restart", UNIT)  # the command does not wait for it
    body = b'{"ref": "refs/heads/main"}'

    def deliver(signature: str) -> tuple[int, str]:
        connection = HTTPConnection("127.0.0.1", hive.ports.dashboard, timeout=60)
        with closing(connection):
            headers = {"X-Forgejo-Signature": signature, "Content-Type": "application/json"}
            connection.request("POST", "/hooks/hooked", body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    status, said = deliver("0" * 64)
    assert status == 403
    assert "has another secret" in said
    made = forge.commit()
    with changes(hive, "hooked") as states:
        assert deliver(hmac.digest(secret.encode(), body, "sha256").hex()) == (200, "{}")
        assert (next(states), next(states)) == ("fetching", "ready")
    assert forge.project("show", "hooked")["commit"] == made
    # The dashboard's user may call no method that changes projects.
    call = ("busctl", "call", names.PROJECTS, names.PROJECTS_PATH, names.PROJECTS, "Remove")
    done = hive.run("runuser", "-u", "hive-dashboard", "--", *call, "s", "hooked", check=False)
    assert "Access denied" in done.stderr


def test_the_tokens_of_apps_have_a_place_in_memory(forge: Forge) -> None:
    hive = forge.hive
    pid = hive.run("systemctl", "show", "-P", "MainPID", UNIT).stdout.strip()
    place = "/run/hyperhive-projects"
    user = ("setpriv", "--reuid=hive-projects", "--regid=hive-projects", "--clear-groups")
    hive.run("nsenter", "--mount", f"--target={pid}", *user, "touch", f"{place}/token")
    assert hive.run("stat", "-c", "%U %a", place).stdout == "hive-projects 700\n"
    assert hive.run("stat", "-f", "-c", "%T", place).stdout == "tmpfs\n"
    hive.run("systemctl", "restart", UNIT)
    assert hive.run("ls", place).stdout == ""


def test_the_users_of_agents_reach_nothing(forge: Forge) -> None:
    call = ("busctl", "call", names.PROJECTS, names.PROJECTS_PATH, names.PROJECTS)
    for user in ("hive-agents", "hive-gateway", "hive-approvals", "nobody"):
        done = forge.hive.run("runuser", "-u", user, "--", *call, "List", check=False)
        assert "Access denied" in done.stderr or "rejected" in done.stderr.lower(), user
    # The user of the timer may send one method, and is nobody outside of its unit.
    timer = ("runuser", "-u", "hive-fetch", "--", *call, "FetchAll")
    assert "Only services and agents of the hive" in forge.hive.run(*timer, check=False).stderr
