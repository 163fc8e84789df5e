"""Commands of the operator in a real container, and files copied into it and out of it."""

import pytest

from hivectl.exit_codes import Exit
from tests.system.hive import Hive
from tests.system.inside import inside

pytestmark = pytest.mark.system

MEMBER = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--groups=hive", "--")
NOBODY = ("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--")
FOLDER = "/tmp/hivectl-copies"
PLANT = """
mkdir /state/work
echo mine > /state/work/text
ln -s /etc/shadow /state/work/link
mkfifo /state/work/pipe
chmod 4755 /state/work/text
"""


def test_a_command_runs_in_the_container_and_its_result_is_the_result(swarm: Hive) -> None:
    words = "id -un; hostname; pwd; cat; echo wrong >&2; exit 7"
    done = swarm.run(
        *MEMBER, "hivectl", "exec", "alice", "sh", "-c", words, check=False, input="typed\n"
    )
    assert done.stdout.split() == ["root", "alice", "/state", "typed"]
    assert (done.stderr, done.returncode) == ("wrong\n", 7)
    assert swarm.run("hivectl", "exec", "alice", "no-such", check=False).returncode == 127
    # It gets the proxy of its container, and nothing of the environment here.
    seen = swarm.run("env", "SECRET=s3cr3t", "hivectl", "exec", "alice", "env").stdout
    assert "HTTPS_PROXY=http://127.0.0.1:" in seen
    assert "s3cr3t" not in seen
    refused = swarm.run(*NOBODY, "hivectl", "exec", "alice", "id", check=False)
    assert refused.returncode == Exit.DENIED
    assert "You may not watch agents" in refused.stderr


def test_the_end_of_hivectl_ends_the_command(swarm: Hive) -> None:
    begun = swarm.popen("hivectl", "exec", "alice", "sh", "-c", "echo begun; exec sleep 4343")
    try:
        assert begun.stdout
        assert begun.stdout.readline() == "begun\n"
    finally:
        begun.kill()
        begun.communicate(timeout=30)
    gone = "while pgrep -f 'sleep 434[3]' >/dev/null; do sleep 0.1; done"
    inside(swarm, "alice", "timeout", "30", "sh", "-c", gone)


def test_files_are_copied_both_ways_and_nothing_leads_out(swarm: Hive) -> None:
    swarm.run(*MEMBER, "mkdir", FOLDER)
    try:
        swarm.run(*MEMBER, "sh", "-c", f"mkdir {FOLDER}/x && echo ours > {FOLDER}/x/text")
        swarm.run(*MEMBER, "hivectl", "copy-to", "alice", f"{FOLDER}/x", "work")
        assert inside(swarm, "alice", "cat", "/state/work/text").stdout == "ours\n"
        again = ("hivectl", "copy-to", "alice", f"{FOLDER}/x", "work")
        assert swarm.run(*MEMBER, *again, check=False).returncode == Exit.OK
        assert inside(swarm, "alice", "cat", "/state/work/x/text").stdout == "ours\n"
        there = swarm.run(*MEMBER, *again, check=False)
        assert there.returncode == Exit.CONFLICT
        assert "--force replaces it" in there.stderr

        inside(swarm, "alice", "rm", "-r", "/state/work")
        inside(swarm, "alice", "sh", "-c", PLANT)
        back = swarm.run(*MEMBER, "hivectl", "copy-from", "alice", "work", f"{FOLDER}/back")
        for left in ("link", "pipe"):
            assert f"work/{left}" in back.stderr
        found = swarm.run("find", f"{FOLDER}/back", "-printf", r"%P %y %#m\n").stdout
        assert found.splitlines() == [" d 0755", "text f 0755"]
        assert swarm.run("cat", f"{FOLDER}/back/text").stdout == "mine\n"
    finally:
        swarm.run("rm", "-rf", FOLDER)
        inside(swarm, "alice", "rm", "-rf", "/state/work")
