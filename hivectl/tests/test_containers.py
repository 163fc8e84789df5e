"""The commands about containers: their calls to the hive, and their output."""

from typing import Any

import pytest

from hivectl.exit_codes import Exit
from hivectl.tests.conftest import Hivectl
from hivectl.tests.fake_hive import FakeHive
from wire.records.lifecycle import AgentState, JobResult, NetworkMode, ResourceChanges


async def test_rebuild_says_what_it_changed(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.lifecycle.result = (JobResult.DONE, "/etc/x written; h-alice \x1b[31mmade")
    ran = await hivectl("rebuild", "alice")
    assert ran.out == "alice: rebuild done\n  /etc/x written\n  h-alice <U+001B>[31mmade\n"
    changes = (await hivectl("rebuild", "alice", "--json")).json["changes"]
    assert changes == ["/etc/x written", "h-alice \x1b[31mmade"]
    hive.lifecycle.result = (JobResult.DONE, "")
    assert (await hivectl("rebuild", "alice", "--json")).json["changes"] == []


async def test_update_one_or_all(hive: FakeHive, hivectl: Hivectl) -> None:
    assert (await hivectl("update", "alice")).out == "alice: update done\n"
    ran = await hivectl("update-all")
    assert ran.out == "updating one after the other, each when it is idle: alice, bob-2, manager\n"
    hive.lifecycle.agents.clear()
    assert (await hivectl("update-all")).out == "all agents are up to date\n"


@pytest.mark.parametrize("verb", ["pause", "resume"])
async def test_pause_one_or_all(hive: FakeHive, hivectl: Hivectl, verb: str) -> None:
    assert (await hivectl(verb)).code == Exit.USAGE
    assert (await hivectl(verb, "alice", "--all")).code == Exit.USAGE
    assert (await hivectl(verb, "alice")).code == Exit.OK
    fits, other = {
        "pause": (AgentState.RUNNING, AgentState.PAUSED),
        "resume": (AgentState.PAUSED, AgentState.RUNNING),
    }[verb]
    for name, state in (("alice", fits), ("bob-2", other), ("manager", fits)):
        hive.lifecycle.agents[name].show(state=state)
    assert (await hivectl(verb, "--all", "--json")).json["agents"] == ["alice", "manager"]
    assert hive.lifecycle.calls == [(verb, name) for name in ("alice", "alice", "manager")]
    for agent in hive.lifecycle.agents.values():
        agent.show(state=other)
    assert (await hivectl(verb, "--all")).out == f"no agent is {fits}\n"


async def test_limits_are_shown_and_changed(hive: FakeHive, hivectl: Hivectl) -> None:
    ran = await hivectl("limits", "alice", "memory_max=512M", "cpu_quota=150")
    assert hive.lifecycle.calls == [
        ("limit", "alice", ResourceChanges(memory_max=512 * 2**20, cpu_quota=150))
    ]
    assert ran.out.splitlines()[1:4] == [
        "memory_max  512.0 MiB",
        "cpu_quota       150 %",
        "tasks_max        4096",
    ]
    told = (await hivectl("status", "alice")).out
    assert "limits: memory_max 512.0 MiB, cpu_quota 150 %, tasks_max 4096\n" in told
    assert "memory  3.0 MiB" in ran.out
    assert "disk    9.0 GiB" in ran.out
    unknown = await hivectl("limits", "alice", "memory=1G")
    assert unknown.code == Exit.USAGE
    assert unknown.err.startswith("hivectl: 'memory' is not a limit. Limits are: memory_high, ")
    assert "cpu       1.5 s" in ran.out
    bad = await hivectl("limits", "alice", "memory_max")
    assert (bad.code, bad.err) == (
        Exit.USAGE,
        "hivectl: 'memory_max' is not a valid change. "
        "Write RESOURCE=VALUE, such as memory_max=4G.\n",
    )


async def test_status_shows_whom_an_agent_may_talk_to(hive: FakeHive, hivectl: Hivectl) -> None:
    assert (
        " network: host: denied: any; exceptions: 192.0.2.7; on port 53 only: 10.0.0.53\n"
        in (await hivectl("status", "alice")).out
    )
    alice = hive.lifecycle.agents["alice"]
    alice.show(network=alice.shown.network._replace(filtered=False))
    assert (
        " network: host: NOT FILTERED: this host cannot filter addresses; to be denied: any; "
        "exceptions: 192.0.2.7; on port 53 only: 10.0.0.53\n"
        in (await hivectl("status", "alice")).out
    )
    alice.show(network=alice.shown.network._replace(deny=[]))
    assert " network: host: all addresses\n" in (await hivectl("status", "alice")).out


@pytest.mark.parametrize(
    ("network", "text"),
    [
        (
            {"mode": NetworkMode.GATEWAY, "egress": ("pypi.org", "*.a.b:8443")},
            "gateway: the model, pypi.org, *.a.b:8443",
        ),
        ({"mode": NetworkMode.GATEWAY}, "gateway: the model, and nothing else"),
        ({"mode": NetworkMode.NONE}, "none: the model only"),
        (
            {"deny": [], "until_deploy": True},
            "host: all addresses (until the next deployment: an earlier version made the "
            "container)",
        ),
        (
            {"mode": NetworkMode.NONE, "next_mode": NetworkMode.GATEWAY},
            "none: the model only (gateway at the next start)",
        ),
    ],
)
async def test_status_shows_the_network_that_holds(
    hive: FakeHive, hivectl: Hivectl, network: dict[str, Any], text: str
) -> None:
    alice = hive.lifecycle.agents["alice"]
    alice.show(network=alice.shown.network._replace(**network))
    assert f" network: {text}\n" in (await hivectl("status", "alice")).out


async def test_tombstones_and_their_end(hive: FakeHive, hivectl: Hivectl) -> None:
    [head, row] = (await hivectl("tombstones")).out.splitlines()
    assert head.split() == ["NAME", "DESTROYED", "SIZE"]
    assert row.split()[0] == "carol"
    assert row.endswith("3.0 MiB")
    assert (await hivectl("purge", "carol")).code == Exit.USAGE
    assert hive.lifecycle.calls == []
    assert (await hivectl("purge", "carol", "--yes")).out == "carol: purge done\n"


async def test_a_job_that_is_over_is_not_cancelled(hive: FakeHive, hivectl: Hivectl) -> None:
    ran = await hivectl("cancel-job", "7")
    assert ran.code == Exit.NOT_FOUND
    assert ran.err == "hivectl: Job 7 does not exist, or has ended.\n"
