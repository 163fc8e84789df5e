"""`hivectl logs`: an agent's container, endpoint and jobs, together and each alone."""

from threading import Timer

import pytest

from tests.system.hive import Hive

pytestmark = pytest.mark.system


def logs(hive: Hive, *options: str) -> str:
    return hive.run("hivectl", "logs", "bob", *options).stdout


@pytest.mark.long
def test_each_part_is_shown_alone_and_all_of_them_together(swarm: Hive) -> None:
    swarm.run("hivectl", "restart", "bob", timeout=120)
    jobs = logs(swarm, "--unit", "jobs", "--since", "1h")
    for step in (
        "stopping the container",
        "writing the files",
        "starting the container",
        "bob done",
    ):
        assert step in jobs
    assert {line.split()[3].split("[")[0] for line in jobs.splitlines()} == {"hive-lifecycle"}
    assert "alice" not in jobs
    assert "Started hive-agent@bob.service" in logs(swarm, "--unit", "endpoint", "--since", "1h")
    container = logs(swarm, "--unit", "container", "--since", "1h")
    # Of the last boot. Lines of earlier ones may be gone, or may come late.
    boot = container.rpartition("Starting systemd-nspawn@h-bob.service")[2]
    # Once: the console does not repeat the container's journal.
    assert boot.count("Reached target hive-container.target") == 1
    assert "hive-lifecycle" not in container
    everything = logs(swarm, "--since", "1h").splitlines()
    assert set(jobs.splitlines()) | set(container.splitlines()) <= set(everything)
    assert len(logs(swarm, "-n", "2", "--since", "1h").splitlines()) == 2


@pytest.mark.long
def test_new_lines_are_followed(swarm: Hive) -> None:
    following = swarm.popen("hivectl", "logs", "bob", "-f", "-n", "1", "--unit", "jobs")
    assert following.stdout is not None
    limit = Timer(120, following.kill)
    limit.start()
    try:
        assert "bob" in following.stdout.readline()  # the last line so far: now it follows
        swarm.run("hivectl", "restart", "bob", timeout=120)
        assert "bob" in following.stdout.readline()
    finally:
        limit.cancel()
        following.kill()
        following.communicate(timeout=30)
