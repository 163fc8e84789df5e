"""Events of a real hive arrive at a webhook on the machine's loopback."""

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.system.hive import Hive
from tests.system.inside import call, clone_anew, decide, inside, leader, mcp, refused
from tests.system.test_dashboard import Page

pytestmark = pytest.mark.system

CONFIG = "/etc/hyperhive/hyperhive.toml"
TOKENS = "/etc/hyperhive/credentials/notify"
LIMIT = 60

P256DH = "BNcRdreALRFXTkOOUHK1EtK2wtaz5Ry4YfYCA_0QTpQtUbVlUls0VJXg7A8u-Ts1XbjhazAkj7I99e8QcYP7DkM"
"""A public key, as a browser makes it."""


class Hook(ThreadingHTTPServer):
    """A webhook that keeps what is posted, or answers 503 while `away`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.got: list[dict[str, Any]] = []
        self.tokens: set[str] = set()
        self.refused = 0
        self.away = False
        self.came = threading.Condition()

    def until(self, event: str, words: str) -> dict[str, Any]:
        """Wait for a post about `event` with these words in it."""

        def found() -> list[dict[str, Any]]:
            return [b for b in self.got if b["event"] == event and words in str(b)]

        with self.came:
            assert self.came.wait_for(found, LIMIT), self.got
            return found()[0]

    def until_refused(self, count: int) -> None:
        with self.came:
            assert self.came.wait_for(lambda: self.refused >= count, LIMIT)


class Handler(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.came:
            if self.server.away:
                self.server.refused += 1
            else:
                self.server.got.append(body)
            self.server.tokens.add(self.headers["Authorization"])
            self.server.came.notify_all()
        self.send_response(503 if self.server.away else 204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing: the test reports failures."""


def restart(hive: Hive) -> None:
    """Restart hive-notify, even if its start limit is reached."""
    hive.run("systemctl", "reset-failed", "hive-notify", check=False)
    hive.run("systemctl", "restart", "hive-notify")


@pytest.fixture
def hook(swarm: Hive) -> Iterator[Hook]:
    """Start a webhook, and configure the hive for it."""
    with Hook() as hook:
        thread = threading.Thread(target=hook.serve_forever)
        thread.start()
        before = swarm.run("cat", CONFIG).stdout
        url = f"http://127.0.0.1:{hook.server_port}/hive"
        ours = f'[[notify.webhooks]]\nname = "test"\ntype = "json"\nurl = "{url}"\n'
        swarm.run("tee", CONFIG, input=f"{before}\n{ours}")
        swarm.run("sh", "-c", f"umask 077; cat > {TOKENS}/test", input="s3cret\n")
        restart(swarm)
        yield hook
        swarm.run("tee", CONFIG, input=before)
        swarm.run("rm", f"{TOKENS}/test")
        with suppress(BrokenPipeError):
            restart(swarm)
        hook.shutdown()
        thread.join()


def remind(hive: Hive, text: str) -> None:
    hive.hivectl("remind", text, "--in", "1s")


def test_the_operator_is_told_of_what_waits(swarm: Hive, hook: Hook) -> None:
    remind(swarm, "is it on?")
    assert hook.until("notice", "is it on?")["host"]
    assert hook.tokens == {"Bearer s3cret"}
    call(swarm, "alice", "ask", question="Shall I?", options=["yes", "no"])
    question = hook.until("question", "Shall I?")
    assert question["title"].startswith("alice asks you")
    assert question["text"] == "Shall I?\n1  yes\n2  no"
    call(swarm, "manager", "request_spawn", name="dora", reason="more hands")
    approval = hook.until("approval", "more hands")
    assert "spawn of dora waits for approval" in approval["title"]
    number = approval["id"].rpartition("-")[2]
    decide(swarm, "deny", number)
    journal = swarm.run("journalctl", "-u", "hive-notify", "--no-pager").stdout
    assert "s3cret" not in journal
    assert str(hook.server_port) not in journal


@pytest.mark.long
def test_a_container_that_is_given_up(swarm: Hive, hook: Hook) -> None:
    remind(swarm, "is it on now?")
    hook.until("notice", "is it on now?")
    swarm.run("kill", "-9", str(leader(swarm, "manager")))
    crash = hook.until("crash", "The container of manager crashed")
    assert crash["id"].startswith("crash-")
    swarm.hivectl("start", "manager", timeout=120)


@pytest.mark.long
def test_a_deploy_that_fails(swarm: Hive, hook: Hook) -> None:
    remind(swarm, "is it on this time?")
    hook.until("notice", "is it on this time?")
    script = (
        "cd /agents/alice && echo 'packages = [\"no-such-package\"]' > agent.toml && "
        "git commit --quiet --all --message=Packages && git rev-parse HEAD"
    )
    clone_anew(swarm, "alice")
    commit = inside(swarm, "manager", "sh", "-c", script).stdout.strip()
    arguments = {"agent": "alice", "commit": commit, "description": "what nobody packs"}
    asked = ["request_apply_commit", arguments]
    [answer] = mcp(swarm, "manager", client="probe", calls=[asked])
    assert not refused(answer), answer
    waiting = hook.until("approval", "what nobody packs")
    assert "apply of alice" in waiting["title"]
    number = waiting["id"].rpartition("-")[2]
    decide(swarm, "approve", number, check=False, timeout=300)
    failed = hook.until("deploy-failed", "no-such-package")
    assert failed["id"] == f"deploy-failed-{number}"
    inside(swarm, "manager", "git", "-C", "/agents/alice", "reset", "--quiet", "--hard", "HEAD^")


@pytest.mark.long
def test_what_happens_while_it_or_the_webhook_is_down_comes_later(swarm: Hive, hook: Hook) -> None:
    remind(swarm, "both are there")
    hook.until("notice", "both are there")
    swarm.run("systemctl", "kill", "--signal=KILL", "hive-notify")
    swarm.run("systemctl", "stop", "hive-notify")
    call(swarm, "alice", "ask", question="Does nobody listen?")
    hook.away = True
    restart(swarm)
    hook.until_refused(2)
    restart(swarm)
    hook.away = False
    hook.until("question", "Does nobody listen?")
    remind(swarm, "all is well")
    hook.until("notice", "all is well")
    times = [body["id"] for body in hook.got if "nobody listen" in body["text"]]
    assert len(times) == 1


@pytest.fixture
def pushing(swarm: Hive) -> Iterator[Page]:
    """Let browsers use a push service that nobody can reach, and log in."""
    before = swarm.run("cat", CONFIG).stdout
    swarm.run("tee", CONFIG, input=f'{before}\n[dashboard]\npush_services = ["push.invalid"]\n')
    swarm.run("systemctl", "restart", "hive-dashboard")
    page = Page(swarm.hivectl("login-link").stdout.strip())
    yield page
    page.request("POST", "/logout")
    page.close()
    swarm.run("tee", CONFIG, input=before)
    swarm.run("systemctl", "restart", "hive-dashboard")


@pytest.mark.long
def test_a_browser_is_told_of_what_is_new_without_a_webhook(swarm: Hive, pushing: Page) -> None:
    keys = {"p256dh": P256DH, "auth": "A" * 22}
    body = {"endpoint": "https://push.invalid/s3cret", "events": ["notice"], **keys}
    assert pushing.request("POST", "/api/push", body).status == 200
    cursor = swarm.run("journalctl", "-u", "hive-notify", "-n0", "--show-cursor").stdout
    after = f"--after-cursor={cursor.rpartition(' ')[2].strip()}"
    # The reminder is news only after notify has looked at what was there before.
    follow = f"journalctl --follow --lines=all '{after}' -u hive-notify"
    script = f"{follow} | grep --max-count=1 'browser .* does not accept posts'"
    for text in ("is there a browser?", "is there one now?", "now?"):
        remind(swarm, text)
    line = swarm.run("timeout", str(LIMIT), "bash", "-c", script, timeout=2 * LIMIT).stdout
    assert "it cannot be reached" in line
    assert "s3cret" not in line


def test_its_user_may_do_nothing_else(swarm: Hive) -> None:
    broker = ["org.hyperhive.Broker1", "/org/hyperhive/Broker1", "org.hyperhive.Broker1"]
    refused = swarm.run(
        *("runuser", "-u", "hive-notify", "--", "busctl", "call", *broker),
        *("Send", "ssa{sv}", "operator", "x", "0"),
        check=False,
    )
    assert refused.returncode != 0
    assert "denied" in refused.stderr.lower()


def test_nobody_else_reads_a_token(swarm: Hive) -> None:
    shown = swarm.run("stat", "-c", "%U %a", TOKENS).stdout
    assert shown == "root 700\n"
