"""The credentials of the gateway: the one that goes upstream, and the places without any."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.system import gateway
from tests.system.gateway import Upstream, last_request, load, requests
from tests.system.hive import Hive
from tests.system.inside import hivectl, inside, leader, probe
from tests.system.sleeping import settings
from wire import names

pytestmark = pytest.mark.system

FOLDER = "/etc/hyperhive/credentials/gateway"
OLD_FILE = "/etc/hyperhive/credentials/anthropic_api_key"
KEY = "sk-ant-api03-of-the-{}-place"
TOKEN = "sk-ant-oat01-of-an-account"
SECRETS = [*(KEY.format(place) for place in ("old", "plain", "first", "second", "own")), TOKEN]


@pytest.fixture(scope="module")
def server(swarm: Hive) -> Iterator[Upstream]:
    """Serve what the gateways send the credentials to. One for alice alone would get only hers."""
    with gateway.upstream(swarm) as found:
        upstream = f'[gateway]\nupstream = "{found.url("works")}"'
        with settings(swarm, ("", upstream)):
            # She begins no turn: the ledger counts the requests of `load` alone.
            swarm.hivectl("hold", "alice")
            swarm.hivectl("restart", "alice", timeout=120)
            yield found
            swarm.hivectl("unhold", "alice")
    swarm.hivectl("restart", "alice", timeout=120)


@pytest.fixture
def clean(swarm: Hive) -> Iterator[Hive]:
    """Leave no credential behind."""
    gateway.stop(swarm)
    yield swarm
    swarm.run("rm", "-rf", FOLDER, OLD_FILE)
    gateway.stop(swarm)


class Sent:
    """The credential of the next request, and its name in the ledger."""

    def __init__(self, hive: Hive, server: Upstream) -> None:
        self._hive, self._server = hive, server

    def __call__(self) -> tuple[str, dict[str, Any]]:
        seen, counted = len(self._server.of_load()), last_request(self._hive)
        [answer] = load(self._hive, 1, 1, "say it")
        assert answer["whole"], answer
        [request] = requests(self._hive, counted)
        [sent] = self._server.of_load()[seen:]
        headers = sent["headers"]
        kept = ("x-api-key", "authorization", "anthropic-beta")
        return request["credential"], {name: headers[name] for name in kept if name in headers}


@pytest.fixture
def sent(clean: Hive, server: Upstream) -> Sent:
    return Sent(clean, server)


def place(hive: Hive, file: str, secret: str) -> None:
    """Store a credential by hand, as earlier versions and other tools do."""
    hive.run("install", "-D", "-m", "0600", "/dev/stdin", file, input=f"{secret}\n")


@pytest.mark.long
def test_the_first_credential_that_there_is_goes_upstream(clean: Hive, sent: Sent) -> None:
    """Each file is missing at first: then its SetCredential= holds, which stands for none."""
    assert sent() == ("none", {})
    for file, place_, name in (
        (OLD_FILE, "old", "default"),
        (f"{FOLDER}/default", "plain", "default"),
        (f"{FOLDER}/agents/alice", "own", "agent:alice"),
    ):
        place(clean, file, KEY.format(place_))
        gateway.stop(clean)
        assert sent() == (name, {"x-api-key": KEY.format(place_)})


@pytest.mark.long
def test_a_change_is_in_effect_at_the_next_request(clean: Hive, sent: Sent) -> None:
    encrypts = clean.run("sh", "-c", "command -v systemd-creds", check=False).returncode == 0

    def change(*words: str, secret: str | None = None) -> None:
        text = f"{secret}\n" if secret else None
        clean.hivectl("credentials", *words, input=text)

    change("set", secret=KEY.format("first"))
    [stored] = hivectl(clean, "credentials", "list")
    assert (stored["encrypted"], stored["used"], stored["valid"]) == (encrypts, True, True)
    assert sent() == ("default", {"x-api-key": KEY.format("first")})
    change("set", "--plain", secret=KEY.format("second"))
    assert sent() == ("default", {"x-api-key": KEY.format("second")})
    change("set", "bob", secret=KEY.format("own"))
    assert sent() == ("default", {"x-api-key": KEY.format("second")}), "it is another agent's"
    change("set", "alice", secret=TOKEN)
    beta = {"authorization": f"Bearer {TOKEN}", "anthropic-beta": "oauth-2025-04-20"}
    assert sent() == ("agent:alice", beta)
    listed = [(one["agent"], one["used"]) for one in hivectl(clean, "credentials", "list")]
    assert listed == [(None, True), ("alice", True), ("bob", True)]
    change("remove", "alice", "--yes")
    assert sent() == ("default", {"x-api-key": KEY.format("second")})
    change("remove", "--yes")
    assert sent() == ("none", {})


@pytest.mark.long
def test_a_damaged_credential_stops_the_gateway_until_it_is_repaired(
    clean: Hive, server: Upstream
) -> None:
    """A file of another machine, for example, cannot be decrypted here."""
    place(clean, f"{FOLDER}/default.cred", "bm90IGEgY3JlZGVudGlhbA==")
    place(clean, f"{FOLDER}/default", KEY.format("plain"))
    seen = len(server.of_load())
    enter = ["nsenter", "--target", str(leader(clean, "alice")), "--all"]
    with clean.popen(*enter, "python3", "-c", gateway.LOAD, "1", "1", "say it") as asking:
        clean.until_unit(gateway.UNIT, Result="exit-code", SubState="auto-restart", timeout=60)
        said = clean.run("journalctl", "--unit", gateway.UNIT, "-n", "50", "-o", "cat").stdout
        assert "status=243/CREDENTIALS" in said
        assert len(server.of_load()) == seen, "nothing was sent with another credential"
        listed = hivectl(clean, "credentials", "list")
        assert [(one["encrypted"], one["valid"]) for one in listed] == [
            (True, False),
            (False, True),
        ]
        clean.run("rm", f"{FOLDER}/default.cred")
        [answer] = json.loads(asking.communicate(timeout=60)[0])
    assert answer["whole"], "the request has waited"
    assert server.of_load()[-1]["headers"]["x-api-key"] == KEY.format("plain")
    assert clean.run("systemctl", "is-active", "hive-api@alice.socket").stdout == "active\n"


@pytest.mark.long
def test_a_secret_is_nowhere_but_in_its_file_and_its_gateway(clean: Hive, sent: Sent) -> None:
    with clean.popen("/usr/bin/dbus-monitor", "--system") as listening:
        for secret in SECRETS:
            clean.hivectl("credentials", "set", "alice", input=f"{secret}\n")
            assert secret in json.dumps(sent())
        listening.kill()
        told = listening.communicate()[0]
    assert "org.hyperhive.Ledger1" in told
    assert all(secret not in told for secret in SECRETS)
    places = probe(clean, "find_on_host", gateway.UNIT, *SECRETS)
    assert places["looked"] > 100
    assert places["inside"], "otherwise the probe finds nothing at all"
    assert places["found"] == []


@pytest.mark.long
def test_a_gateway_sees_no_credential_of_another(clean: Hive, sent: Sent) -> None:
    """All gateways are one user, so that only what they see keeps them apart."""
    for agent in ("alice", "bob"):
        clean.hivectl("credentials", "set", agent, input=f"{KEY.format('own')}\n")
        inside(clean, agent, "curl", "-sI", "--unix-socket", gateway.API, "http://x/")
    held = clean.run("ls", "/run/credentials").stdout.split()
    assert {names.gateway_unit("alice"), names.gateway_unit("bob")} <= set(held)
    pid = str(gateway.main_pid(clean))
    within = ("nsenter", "--target", pid, "--mount", "--setuid=0", "ls")
    assert clean.run(*within, "/run/credentials").stdout.split() == [gateway.UNIT]
    for hidden in ("/etc/hyperhive/credentials", "/var/lib/hyperhive", "/proc/1"):
        assert clean.run(*within, hidden, check=False).stdout == "", hidden
