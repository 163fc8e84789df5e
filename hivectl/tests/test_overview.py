"""`hivectl` alone, and `hivectl status`: the whole hive, and agents, at a glance."""

import pytest

from hivectl.exit_codes import Exit
from hivectl.host import cgroups
from hivectl.tests.conftest import Hivectl
from hivectl.tests.fake_agent import SINCE
from hivectl.tests.fake_hive import FakeHive
from hivectl.tests.hostile import HOSTILE, assert_harmless
from wire.records.broker import MessageState
from wire.records.ledger import Budget, BudgetKind, BudgetPeriod, BudgetState
from wire.records.lifecycle import AgentState, Resources, TurnState


async def test_hivectl_alone_shows_the_hive(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.broker.queue("alice", "hello")
    hive.broker.queue("alice", "lost", to="bob-2", state=MessageState.DEAD)
    ran = await hivectl()
    assert (ran.code, ran.err) == (Exit.OK, "")
    first, *_ = lines = ran.out.splitlines()
    assert first == "● hive.target: running"
    assert "  Services: 8 running" in lines
    assert "    Agents: 3: 3 idle" in lines
    for waits in ("1 for approval (`hivectl pending`)", "1 message to you (", "1 dead letter ("):
        assert waits in ran.out
    assert "Next: `hivectl pending`" in ran.out
    assert (await hivectl("status")).out == ran.out
    hive.broker.queue("alice", "hello again")
    assert "2 messages to you (`hivectl inbox`)" in (await hivectl()).out


async def test_problems_have_a_remedy_and_an_exit_code(hive: FakeHive, hivectl: Hivectl) -> None:
    alice = hive.lifecycle.agents["alice"]
    alice.show(state=AgentState.FAILED, turn_state=TurnState.OFFLINE, turn_reason=HOSTILE)
    hive.systemd.fail("hive-notify.service", "The webhook has no address.")
    spent = Budget(BudgetKind.HIVE, "hive", BudgetPeriod.DAY, limit=5, spent=5)
    hive.ledger.budgets = [spent._replace(state=BudgetState.EXHAUSTED)]
    ran = await hivectl("status", "--json")
    assert (ran.code, ran.json["state"]) == (Exit.DEGRADED, "degraded")
    assert ran.json["services"]["hive-notify.service"] == "failed"
    assert ran.json["states"] == {"failed": 1, "idle": 2}
    unit, agent, budget = ran.json["problems"]
    assert unit["what"] == "hive-notify.service is failed (The webhook has no address.)"
    assert unit["remedy"] == "`systemctl status hive-notify.service`"
    assert agent["what"].startswith("alice: failed, ")
    assert "`hivectl start alice`" in agent["remedy"]
    assert budget["what"].startswith("the budget of the hive hive, day")
    shown = (await hivectl("status")).out
    assert_harmless(shown)
    assert "evil" in shown


async def test_a_service_that_was_not_started_is_a_case_for_doctor(
    hive: FakeHive, hivectl: Hivectl
) -> None:
    hive.systemd.states["hive-dashboard.service"] = "inactive"
    [unit] = (await hivectl("status", "--json")).json["problems"]
    assert unit == {"what": "hive-dashboard.service is inactive", "remedy": "`hivectl doctor`"}


async def test_a_hive_that_is_down_is_told_from_the_units(hive: FakeHive, hivectl: Hivectl) -> None:
    for name in (
        "lifecycle",
        "broker",
        "approvals",
        "ledger",
        "dashboard",
        "telemetry",
        "projects",
        "notify",
    ):
        hive.systemd.states[f"hive-{name}.service"] = "inactive"
    hive.systemd.fail("hive-lifecycle.service", "hyperhive.toml, line 3: no such key.")
    for path in list(hive.lifecycle.agents):
        del hive.lifecycle.agents[path]
    ran = await hivectl("status")
    assert "the hive does not run: `systemctl start hive.target`" in ran.out
    assert "hive-lifecycle.service is failed (hyperhive.toml, line 3: no such key.)" in ran.out
    assert ran.code != Exit.OK


async def test_status_of_several_agents(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.lifecycle.agents["bob-2"].show(state=AgentState.FAILED, sleep_after=600)
    ran = await hivectl("status", "b*", "alice", "bob-2", "-n", "2", "--json")
    assert (ran.code, [one["name"] for one in ran.json]) == (Exit.DEGRADED, ["bob-2", "alice"])
    assert ran.json[0]["sleep_after"] == 600
    assert len(ran.json[1]["last_lines"]) == 2
    assert ran.json[1]["deployment"]["tag"] == "deployed/3"
    none = await hivectl("status", "x*")
    assert (none.code, "No agent matches 'x*'" in none.err) == (Exit.NOT_FOUND, True)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("alcie", "There is no agent 'alcie'; `hivectl list` shows all. Did you mean alice?"),
        ("h-alice", "that is the machine of the agent alice. Did you mean alice?"),
        ("zzz", "There is no agent 'zzz'; `hivectl list` shows all."),
    ],
)
async def test_the_agent_that_was_meant_is_named(
    hive: FakeHive, hivectl: Hivectl, name: str, told: str
) -> None:
    ran = await hivectl("status", name)
    assert (ran.code, ran.err.endswith(f"{told}\n")) == (Exit.NOT_FOUND, True)


async def test_status_tells_since_when_and_the_last_lines(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.lifecycle.agents["alice"].show(turn_since=SINCE, sleep_after=1800)
    lines = (await hivectl("status", "alice")).out.splitlines()
    assert lines[0] == "● alice"
    assert lines[1].startswith("       state: running since 2023-11-14 22:13 (")
    assert lines[1].endswith(" days ago)")
    assert "      sleeps: when it was idle for 30m00s" in lines
    assert lines[-1] == "  line 9 <U+001B>[31m"


def test_a_limit_without_a_controller_is_not_enforced(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    file = tmp_path_factory.mktemp("cgroup") / "cgroup.controllers"
    assert cgroups.missing("memory_max", file) == ""
    file.write_text("cpu io\n")
    found = {limit: cgroups.missing(limit, file) for limit in Resources._fields}
    assert {limit for limit, controller in found.items() if controller} == {
        *("memory_high", "memory_max", "tasks_max"),
    }
    assert found["tasks_max"] == "pids"
