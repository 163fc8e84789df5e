"""An agent with another /usr than the host: a tree made as the manual describes it."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.system.hive import REPO, Hive
from tests.system.inside import hivectl, inside

pytestmark = pytest.mark.system

CONFIG = "/etc/hyperhive/hyperhive.toml"
LIKE_THE_HOST = "/srv/hyperhive/like-the-host"

SetImage = Callable[[str], None]


@pytest.fixture
def set_image(swarm: Hive) -> Iterator[SetImage]:
    """Return a function that stops alice and sets her image; undo both afterwards."""
    before = swarm.run("cat", CONFIG).stdout

    def write(text: str) -> None:
        swarm.hivectl("stop", "alice", timeout=120)
        swarm.run("sh", "-c", f"cat > {CONFIG}", input=text)
        swarm.run("systemctl", "restart", "hive-lifecycle")

    yield lambda image: write(f'{before}[lifecycle.agents.alice]\nimage = "{image}"\n')
    write(before)
    swarm.hivectl("start", "alice", timeout=120)


def works(hive: Hive) -> None:
    """Check that the real Claude Code in alice's container takes a turn."""
    asked = ("ask", "alice", "What is six times seven?", "--wait", "120")
    assert hive.hivectl(*asked, timeout=150).stdout.strip() == "42"


@pytest.mark.long
def test_an_agent_lives_on_a_tree(swarm: Hive, set_image: SetImage) -> None:
    mark = f"{LIKE_THE_HOST}/etc/alternatives/made-by-the-operator"
    shared = "alternatives ca-certificates pam.d ssl"
    swarm.run(
        "sh",
        "-ec",
        f"mkdir -p {LIKE_THE_HOST}/usr {LIKE_THE_HOST}/etc; cd /etc;"
        f"mount --bind --make-private /usr {LIKE_THE_HOST}/usr;"
        f"cp -a {shared} {LIKE_THE_HOST}/etc; touch {mark};"
        f"for link in bin lib lib64 sbin; do cp -a /$link {LIKE_THE_HOST}; done",
    )
    set_image(LIKE_THE_HOST)
    swarm.hivectl("start", "alice", timeout=120)
    inside(swarm, "alice", "test", "-e", "/etc/alternatives/made-by-the-operator")
    mounted = inside(swarm, "alice", "findmnt", "--noheadings", "--output=OPTIONS", "/usr").stdout
    assert mounted.startswith("ro")
    assert inside(swarm, "alice", "touch", "/usr/lib/hyperhive/x", check=False).returncode != 0
    works(swarm)


@pytest.mark.long
def test_a_tree_that_does_not_fit_is_refused_with_the_reason(
    swarm: Hive, set_image: SetImage
) -> None:
    swarm.run("mkdir", "-p", "/srv/hyperhive/empty/usr")
    set_image("/srv/hyperhive/empty")
    refused = swarm.hivectl("start", "alice", check=False, timeout=120)
    assert "alice cannot run from the image /srv/hyperhive/empty: it has no" in refused.stderr
    assert hivectl(swarm, "status", "alice")["state"] == "stopped"


def manual() -> str:
    """Return the command of the manual that makes a tree."""
    text = (Path(REPO) / "docs/operations.md").read_text()
    found = re.search(r"^    mmdebstrap .*?\n\n", text, re.DOTALL | re.MULTILINE)
    assert found
    return found[0]


@pytest.mark.long
def test_the_tree_of_the_manual_is_one(swarm: Hive, set_image: SetImage) -> None:
    if swarm.run("sh", "-c", "command -v mmdebstrap", check=False).returncode:
        pytest.skip("mmdebstrap is not installed: apt-get install mmdebstrap")
    command = manual()
    tree = command.split()[-1]
    made = swarm.run("sh", "-c", f"mkdir -p {tree}/.. && {command}", check=False, timeout=600)
    if "Could not resolve" in made.stderr or "Unable to connect" in made.stderr:
        pytest.skip("no package archive can be reached from here")
    assert made.returncode == 0, made.stderr[-2000:]
    set_image(tree)
    swarm.hivectl("start", "alice", timeout=120)
    host, own = swarm.run("ls", "/usr/bin"), inside(swarm, "alice", "ls", "/usr/bin")
    assert len(own.stdout.split()) < len(host.stdout.split())
    works(swarm)
