"""The commands: their calls to the hive, their output, and their exit codes."""

import asyncio
import re
import time

import pytest

from hivectl import command_table
from hivectl.commands.history import STATES
from hivectl.exit_codes import BY_ERROR, Exit
from hivectl.tests.conftest import Hivectl
from hivectl.tests.fake_agent import COMMIT
from hivectl.tests.fake_hive import FakeHive, FakeJob
from hivectl.tests.hostile import HOSTILE, assert_harmless, assert_indented
from wire import names
from wire.errors import TABLE, Conflict, LimitExceeded
from wire.fixtures import Connect
from wire.interface import Interface, prop
from wire.records.broker import MessageFilter, MessageState, SendOptions
from wire.records.lifecycle import (
    CRASHES_IN_A_ROW_US,
    AgentState,
    JobResult,
    ProjectAccess,
    Resources,
    TurnState,
)
from wire.types import Str


async def test_list_is_an_aligned_table(hive: FakeHive, hivectl: Hivectl) -> None:
    ran = await hivectl("list")
    assert ran.code == Exit.OK
    head, *rows = ran.out.splitlines()
    assert [row.split()[0] for row in rows] == ["alice", "bob-2", "manager"]
    for row in rows:
        assert row.index("running") == head.index("STATE")
        assert row.index("claude-x") == head.index("MODEL")
    assert "\x1b" not in ran.out


async def test_one_number_of_an_agent_does_not_hide_the_others(
    hive: FakeHive, hivectl: Hivectl
) -> None:
    hive.lifecycle.agents["alice"].show(turn_until=2**40 * 1_000_000)
    assert len((await hivectl("list")).out.splitlines()) == 4
    agents = (await hivectl("list", "--json")).json
    assert [(a["name"], a["turn_until"]) for a in agents[:2]] == [("alice", None), ("bob-2", None)]
    assert "until: -\n" in (await hivectl("status", "alice")).out


async def test_list_marks_a_model_that_is_not_known(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.lifecycle.agents["alice"].show(model="")
    _, alice, *_ = (await hivectl("list")).out.splitlines()
    assert alice.endswith("1234  $0.00  -")


async def test_list_for_programs_has_stable_keys(hive: FakeHive, hivectl: Hivectl) -> None:
    agents = (await hivectl("list", "--json")).json
    assert [a["name"] for a in agents] == ["alice", "bob-2", "manager"]
    assert agents[0] == {
        "name": "alice",
        "machine": "h-alice",
        "unit": "systemd-nspawn@h-alice.service",
        "uid_base": 655360,
        "enabled": True,
        "state": "running",
        "since": "2023-11-14T22:13:20.123456Z",
        "invocation_id": "ab" * 16,
        "turn_state": "idle",
        "turn_since": None,
        "turn_reason": "",
        "turn_until": None,
        "activity": "",
        "effort": "",
        "context_limit": 0,
        "session": "",
        "crashes": 0,
        "last_crash": None,
        "sleep_after": 0,
        "queued": 0,
        "unread": 0,
        "cost_today": 0.0,
        "model": "claude-x",
        "context_tokens": 1234,
        "logged_in": False,
        "credential": "login",
        "model_setting": "",
        "resources": {"tasks_max": 4096},
        "network": {
            "deny": ["any"],
            "allow": ["192.0.2.7"],
            "name_servers": ["10.0.0.53"],
            "filtered": True,
            "mode": "host",
            "next_mode": None,
            "until_deploy": False,
            "egress": [],
            "ports": [],
        },
        "stale": False,
        "port": 8100,
        "port_shared_with": [],
        "deployed_commit": COMMIT,
        "image": "/srv/small",
        "projects": [],
    }


async def test_status_shows_one_agent(hive: FakeHive, hivectl: Hivectl) -> None:
    ran = await hivectl("status", "alice")
    assert "running since 2023-11-14 22:13" in ran.out
    assert (await hivectl("status", "alice", "--json")).json["name"] == "alice"
    assert "port: 8100\n" in ran.out
    assert "disk: 9.0 GiB, no limit\n" in ran.out
    hive.lifecycle.agents["alice"].show(resources=Resources(disk_max=10 * 2**30))
    assert "disk: 9.0 GiB of 10.0 GiB\n" in (await hivectl("status", "alice")).out
    assert "deployed: 0123456789ab (deployed/3, " in ran.out
    assert "image: /srv/small\n" in ran.out
    bob = (await hivectl("status", "bob-2")).out
    assert "deployed: 76543210fedc (deployed/0, " in bob
    assert "image: the host\n" in bob
    projects = (
        ProjectAccess("website", readonly=False, branches=[]),
        ProjectAccess("docs", readonly=True, branches=[]),
        ProjectAccess("app", readonly=False, branches=["main", "hive/*"]),
    )
    assert "projects" not in ran.out
    hive.lifecycle.agents["alice"].show(projects=projects)
    shown = (await hivectl("status", "alice")).out
    assert "projects: website, docs (read-only), app (into main, hive/*)\n" in shown
    listed = (await hivectl("status", "alice", "--json")).json["projects"]
    assert listed[1] == {"project": "docs", "readonly": True, "branches": []}
    hive.lifecycle.agents["alice"].show(port_shared_with=["bob-2"])
    ran = await hivectl("status", "alice")
    assert "port: 8100, also used by bob-2; `hivectl rebuild` gives it another\n" in ran.out
    missing = await hivectl("status", "carol")
    assert missing.code == Exit.NOT_FOUND
    assert missing.err.startswith("hivectl: There is no agent 'carol'")


async def test_status_says_that_a_full_disk_keeps_an_agent_stopped(
    hive: FakeHive, hivectl: Hivectl
) -> None:
    alice = hive.lifecycle.agents["alice"]
    alice.show(state=AgentState.STOPPED, resources=Resources(disk_max=9 * 2**30))
    told = "reason: it uses 9.0 GiB of disk space, more than it may, and is not started"
    ran = await hivectl("status", "alice")
    assert told in ran.out
    assert "help: `hivectl limits alice disk_max=SIZE` raises the limit" in ran.out
    assert "disk_max=SIZE" in (await hivectl("status", "alice", "--json")).json["help"]
    alice.show(resources=Resources(disk_max=10 * 2**30))
    assert "disk space" not in (await hivectl("status", "alice")).out
    alice.show(state=AgentState.RUNNING, resources=Resources(disk_max=9 * 2**30))
    assert "disk space" not in (await hivectl("status", "alice")).out


async def test_a_crash_loop_and_a_missing_report_are_in_the_list(
    hive: FakeHive, hivectl: Hivectl
) -> None:
    alice, now = hive.lifecycle.agents["alice"], time.time_ns() // 1000
    alice.show(turn_state=TurnState.NO_REPORT, turn_since=now, crashes=4, last_crash=now)
    shown = (await hivectl("list")).out
    assert "no report yet" in shown
    assert "crash loop, 4 crashes" in shown
    assert "crashes: crash loop, 4 crashes; the last at" in (await hivectl("status", "alice")).out
    alice.show(last_crash=now - CRASHES_IN_A_ROW_US)
    assert "crash loop" not in (await hivectl("list")).out


class _OlderAgent(Interface, name=names.AGENT_INTERFACE):
    @prop()
    def Name(self) -> Str:  # noqa: N802 -- D-Bus members are PascalCase
        return "carol"


async def test_an_older_lifecycle_is_named(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.bus.export(names.agent_path("carol"), _OlderAgent())
    ran = await hivectl("list")
    assert ran.code == Exit.CONFLICT
    assert "Machine" in ran.err
    assert "systemctl restart" in ran.err


async def test_status_names_the_job_that_runs(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.bus.export(names.job_path(1), FakeJob())
    ran = await hivectl("status", "alice")
    assert re.search(r"^ +job: 1, start; `hivectl cancel-job 1` cancels it$", ran.out, re.MULTILINE)
    assert (await hivectl("status", "alice", "--json")).json["job"] == {"id": 1, "verb": "start"}
    assert "job:" not in (await hivectl("status", "bob-2")).out
    assert (await hivectl("status", "bob-2", "--json")).json["job"] is None


@pytest.mark.parametrize("verb", ["start", "stop", "kill", "restart"])
async def test_verbs_wait_for_their_job(hive: FakeHive, hivectl: Hivectl, verb: str) -> None:
    ran = await hivectl(verb, "bob-2")
    assert (ran.code, ran.out) == (Exit.OK, f"bob-2: {verb} done\n")
    assert hive.lifecycle.calls == [(verb, "bob-2")]


async def test_spawn_waits_and_a_second_one_conflicts(hive: FakeHive, hivectl: Hivectl) -> None:
    ran = await hivectl("spawn", "carol", "--json")
    assert ran.json == {
        "job": 1,
        "agent": "carol",
        "verb": "spawn",
        "result": "done",
        "changes": [],
    }
    again = await hivectl("spawn", "carol")
    assert again.code == Exit.CONFLICT
    assert again.err == "hivectl: There is an agent carol already.\n"


async def test_a_failed_job_is_a_failed_command(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.lifecycle.result = (JobResult.FAILED, "no room")
    ran = await hivectl("spawn", "carol")
    assert (ran.code, ran.out) == (Exit.FAILED, "")
    assert ran.err == "hivectl: spawn of carol failed: no room\n"


async def test_no_wait_prints_the_job(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.lifecycle.ends = False
    ran = await hivectl("start", "alice", "--no-wait", "--json")
    assert ran.json == {"job": 1, "path": names.job_path(1)}


async def test_a_job_that_does_not_end_times_out(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.lifecycle.ends = False
    ran = await hivectl("start", "alice", "--timeout", "0.3")
    assert ran.code == Exit.TIMEOUT
    assert "Job 1 still runs" in ran.err
    assert "`hivectl cancel-job 1` cancels it" in ran.err


@pytest.mark.parametrize("goes_on", [True, False])
async def test_a_job_outlives_lifecycle_or_its_end_is_unknown(
    hive: FakeHive, hivectl: Hivectl, connect: Connect, goes_on: bool
) -> None:
    hive.lifecycle.ends = False
    asked = asyncio.Event()
    hive.lifecycle.on_job = asked.set
    running = asyncio.create_task(hivectl("start", "alice"))
    await asyncio.wait_for(asked.wait(), 10)
    await hive.bus.close(grace=5.0)
    again = FakeHive(await connect())
    if goes_on:
        again.bus.export(names.job_path(1), FakeJob())
    await again.up()
    if goes_on:
        again.lifecycle.JobRemoved(1, names.job_path(1), "alice", "start", "done", "")
    ran = await running
    assert ran.code == (Exit.OK if goes_on else Exit.UNAVAILABLE)
    assert ran.out == ("alice: start done\n" if goes_on else "")


async def test_destroy_wants_a_yes(hive: FakeHive, hivectl: Hivectl) -> None:
    assert (await hivectl("destroy", "alice")).code == Exit.USAGE
    assert hive.lifecycle.calls == []
    assert (await hivectl("destroy", "alice", "--yes", "--purge")).code == Exit.OK
    assert hive.lifecycle.calls == [("purge", True), ("destroy", "alice")]


async def test_send_hands_over_its_options(hive: FakeHive, hivectl: Hivectl) -> None:
    ran = await hivectl(
        "send", "alice", "hello", "--urgent", "--in-reply-to", "3", "--dedupe-key", "k"
    )
    assert ran.out == f"message {2**63 + 1} queued for alice\n"
    assert hive.broker.sent == [
        ("alice", "hello", SendOptions(urgent=True, in_reply_to=3, dedupe_key="k"))
    ]


async def test_send_reads_a_body_from_stdin(hive: FakeHive, hivectl: Hivectl) -> None:
    body = "zwei\nZeilen ä " * 20_000
    assert (await hivectl("send", "alice", "-", stdin=body.encode())).code == Exit.OK
    assert hive.broker.sent[0][1] == body


@pytest.mark.parametrize("stdin", [b"a\0b", b"\xff\xfe"])
async def test_send_refuses_what_no_message_carries(
    hive: FakeHive, hivectl: Hivectl, stdin: bytes
) -> None:
    assert (await hivectl("send", "alice", "-", stdin=stdin)).code == Exit.USAGE
    assert hive.broker.sent == []


async def test_errors_of_send_have_their_codes(hive: FakeHive, hivectl: Hivectl) -> None:
    assert (await hivectl("send", "nobody", "x")).code == Exit.NOT_FOUND
    hive.broker.error = LimitExceeded("The body is too large.")
    assert (await hivectl("send", "alice", "x")).code == Exit.LIMIT


async def test_send_to_all_says_so(hive: FakeHive, hivectl: Hivectl) -> None:
    assert (await hivectl("send", "*", "lunch")).out.endswith(" queued for all agents\n")


@pytest.mark.parametrize(
    ("state", "end"),
    [
        (AgentState.STOPPED, "is stopped, and reads it after `hivectl start alice`"),
        (AgentState.FAILED, "has failed, and reads it after `hivectl start alice`"),
        (AgentState.PAUSED, "is paused, and reads it after `hivectl resume alice`"),
    ],
)
async def test_send_says_when_nobody_reads(
    hive: FakeHive, hivectl: Hivectl, state: AgentState, end: str
) -> None:
    hive.lifecycle.agents["alice"].show(state=state)
    assert (await hivectl("send", "alice", "x")).out.endswith(f" queued for alice; alice {end}\n")


async def test_send_interrupts_when_it_is_urgent(hive: FakeHive, hivectl: Hivectl) -> None:
    assert (await hivectl("send", "alice", "stop", "--interrupt")).code == Exit.USAGE
    assert hive.broker.sent == []
    await hivectl("send", "alice", "stop", "--urgent", "--interrupt")
    [(_, _, options)] = hive.broker.sent
    assert (options.urgent, options.interrupt) == (True, True)


async def test_a_message_is_taken_back(hive: FakeHive, hivectl: Hivectl) -> None:
    ran = await hivectl("unsend", "7", "8")
    assert ran.out == "message 7 taken back\nmessage 8 taken back\n"
    assert hive.broker.calls == [("retract", 7), ("retract", 8)]
    hive.broker.error = Conflict("Message 9 was not taken back: alice is working on it.")
    refused = await hivectl("unsend", "9")
    assert refused.code == Exit.CONFLICT
    assert "alice is working on it" in refused.err


async def test_a_message_to_an_agent_without_a_login_says_so(
    hive: FakeHive, hivectl: Hivectl
) -> None:
    hive.lifecycle.agents["alice"].show(turn_state=TurnState.NEEDS_LOGIN)
    assert (await hivectl("send", "alice", "x")).out.endswith(
        "; alice has no valid login, and reads it after that: see `hivectl status alice`\n"
    )


async def test_agents_are_held(hive: FakeHive, hivectl: Hivectl) -> None:
    assert (await hivectl("holds")).out == "no agent is held\n"
    assert (await hivectl("hold", "alice", "wait for me")).out == "alice is held\n"
    assert (await hivectl("holds")).out.split() == [
        *("AGENT", "KIND", "SINCE", "REASON"),
        *("alice", "operator", "2023-11-14", "22:13", "wait", "for", "me"),
    ]
    assert (await hivectl("holds", "--json")).json == [
        {
            "agent": "alice",
            "kind": "operator",
            "reason": "wait for me",
            "since": "2023-11-14T22:13:20.123456Z",
        }
    ]
    sent = await hivectl("send", "alice", "x")
    assert sent.out.endswith(" queued for alice; alice is held: see `hivectl holds`\n")
    assert "held" not in (await hivectl("send", "alice", "x", "--urgent")).out
    assert (await hivectl("unhold", "alice")).out == "alice is not held any more\n"
    assert (await hivectl("unhold", "alice")).code == Exit.NOT_FOUND


async def test_inbox_shows_and_then_acknowledges(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.broker.queue("alice", "first\nsecond")
    hive.broker.queue("system", "crash", kind="container-crash")
    ran = await hivectl("inbox")
    assert ran.out == (
        "1 from alice at 2023-11-14 22:13\n  first\n  second\n"
        "2 from system at 2023-11-14 22:13, container-crash\n  crash\n"
    )
    assert hive.broker.acknowledged == []
    messages = (await hivectl("inbox", "--ack", "--json")).json
    assert [m["body"] for m in messages] == ["first\nsecond", "crash"]
    assert hive.broker.acknowledged == [1, 2]
    assert (await hivectl("inbox")).out == "inbox is empty\n"
    assert (await hivectl("inbox", "--json")).json == []
    assert len((await hivectl("inbox", "--all", "--json")).json) == 2


async def test_inbox_shows_everybody_behind_a_flood(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.broker.queue("alice", "Help!")
    for _ in range(2500):
        hive.broker.queue("bob", "spam")
    ran = await hivectl("inbox", "--json")
    assert [m["from"] for m in ran.json] == ["alice", *["bob"] * 2500]
    assert [m["body"] for m in (await hivectl("inbox", "--from", "alice", "--json")).json] == [
        "Help!"
    ]
    await hivectl("inbox", "--from", "bob", "--ack")
    assert [m["from"] for m in (await hivectl("inbox", "--json")).json] == ["alice"]


async def test_purge_inbox_says_how_many_were_dropped(hive: FakeHive, hivectl: Hivectl) -> None:
    assert (await hivectl("purge-inbox", "alice")).code == Exit.USAGE
    assert hive.broker.calls == []
    ran = await hivectl("purge-inbox", "alice", "--from", "bob", "--yes")
    assert ran.out.splitlines() == [
        "597 messages dropped from the inbox of alice",
        "1 message kept, on which alice is working",
    ]
    assert (await hivectl("purge-inbox", "operator", "--yes", "--json")).json == {
        "dropped": 597,
        "leased": 1,
    }
    assert hive.broker.calls == [
        ("purge-inbox", "alice", "bob"),
        ("purge-inbox", "operator", None),
    ]


async def test_inbox_says_what_came_back(hive: FakeHive, hivectl: Hivectl) -> None:
    for redeliveries, state in ((1, MessageState.QUEUED), (6, MessageState.DEAD)):
        hive.broker.queue("alice", "hello", redeliveries=redeliveries, state=state)
    heads = (await hivectl("inbox", "--all")).out.splitlines()[::2]
    assert [head.partition(", ")[2] for head in heads] == [
        "delivered once before",
        "delivered 6 times before, dead",
    ]


async def test_inbox_waits_for_a_message(hive: FakeHive, hivectl: Hivectl) -> None:
    looked = asyncio.Event()
    hive.broker.on_list = looked.set
    running = asyncio.create_task(hivectl("inbox", "--wait", "15"))
    await asyncio.wait_for(looked.wait(), 10)
    hive.broker.queue("alice", "not for you", to="bob")
    hive.broker.queue("alice", "42")
    ran = await running
    assert ran.code == Exit.OK
    assert ran.out.endswith("  42\n")


# The broker goes away while the second look is on its way, or later.
@pytest.mark.parametrize("looks", [1, 2])
async def test_inbox_looks_again_when_the_broker_comes_back(
    hive: FakeHive, hivectl: Hivectl, connect: Connect, looks: int
) -> None:
    looked = asyncio.Event()

    def on_list() -> None:
        if len(hive.broker.listed) == looks:
            looked.set()

    hive.broker.on_list = on_list
    running = asyncio.create_task(hivectl("inbox", "--wait", "15"))
    await asyncio.wait_for(looked.wait(), 10)
    await hive.bus.close(grace=5.0)
    again = FakeHive(await connect())
    again.broker.queue("alice", "43")  # its signal comes before anybody is there to emit it
    await again.up()
    assert (await running).out.endswith("  43\n")


async def test_inbox_waits_no_longer_than_it_was_told(hive: FakeHive, hivectl: Hivectl) -> None:
    ran = await hivectl("inbox", "--wait", "0.2", "--json")
    assert (ran.code, ran.json) == (Exit.TIMEOUT, [])


async def test_history_asks_for_what_is_wanted(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.broker.queue("alice", "a\nb", to="bob")
    ran = await hivectl(
        *("history", "--to", "bob", "--from", "alice", "--kind", "message"),
        *("--limit", "5", "--before", "9"),
    )
    assert hive.broker.listed == [
        (MessageFilter(recipient="bob", sender="alice", kind="message", before=9), 5)
    ]
    assert ran.out.splitlines()[1].split() == [
        *("1", "2023-11-14", "alice", "bob", "message", "queued", "a", "b")
    ]
    full = await hivectl("history", "--full")
    assert full.out.endswith("  a\n  b\n")
    [message] = (await hivectl("history", "--json")).json
    assert message["in_reply_to"] is None


async def test_login_link_is_a_bare_address(hive: FakeHive, hivectl: Hivectl) -> None:
    assert (await hivectl("login-link")).out == "http://127.0.0.1:7000/login?token=operator\n"
    guest = await hivectl("login-link", "--role", "guest")
    assert guest.out == "http://127.0.0.1:7000/login?token=guest\n"
    assert (await hivectl("login-link", "--role", "root")).code == Exit.USAGE


async def test_sessions_are_listed_and_revoked(hive: FakeHive, hivectl: Hivectl) -> None:
    ran = await hivectl("sessions")
    assert_harmless(ran.out)
    assert [line.split()[:3] for line in ran.out.splitlines()[1:]] == [
        ["3", "operator", "link"],
        ["5", "guest", "proxy"],
    ]
    assert (await hivectl("sessions", "revoke", "3")).out == "session 3 has ended\n"
    [left] = (await hivectl("sessions", "--json")).json
    assert (left["id"], left["role"], left["used"][:4]) == (5, "guest", "2023")
    assert (await hivectl("sessions", "revoke", "3")).code == Exit.NOT_FOUND


@pytest.mark.parametrize("command", ["inbox", "history", "pending", "list", "status"])
async def test_no_agent_steers_the_terminal(hive: FakeHive, hivectl: Hivectl, command: str) -> None:
    hive.broker.queue("alice", HOSTILE)
    hive.approvals.requests[0] = hive.approvals.requests[0]._replace(reason=HOSTILE)
    hive.lifecycle.agents["alice"].show(model=HOSTILE)
    arguments = [command, "alice"] if command == "status" else [command]
    for extra in ([], ["--json"]):
        ran = await hivectl(*arguments, *extra)
        assert ran.code == Exit.OK
        assert_harmless(ran.out)
        assert_indented(ran.out)
        assert "evil" in ran.out


async def test_an_error_sentence_does_not_steer_either(hive: FakeHive, hivectl: Hivectl) -> None:
    hive.lifecycle.result = (JobResult.FAILED, HOSTILE)
    ran = await hivectl("start", "alice")
    assert re.fullmatch(
        r"hivectl: start of alice failed: [^\n]+\n  99 from operator[^\n]*\n", ran.err
    )
    assert_harmless(ran.err)


async def test_without_a_hive_it_says_so(hivectl: Hivectl) -> None:
    for command in (["list"], ["send", "alice", "x"], ["pending"], ["login-link"]):
        ran = await hivectl(*command)
        assert ran.code == Exit.UNAVAILABLE
        assert "not running" in ran.err


async def test_without_a_bus_it_says_so(hivectl: Hivectl) -> None:
    ran = await hivectl("list", DBUS_SYSTEM_BUS_ADDRESS="unix:path=/nonexistent")
    assert ran.code == Exit.UNAVAILABLE
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["send"], ["approve", "x"], ["history", "--limit", "0"]]
)
async def test_wrong_usage(hive: FakeHive, hivectl: Hivectl, arguments: list[str]) -> None:
    assert (await hivectl(*arguments)).code == Exit.USAGE


async def test_help_documents_every_exit_code(hivectl: Hivectl) -> None:
    ran = await hivectl("--help")
    for code in Exit:
        assert re.search(rf"^ +{code.value}  [\w`]", ran.out, re.MULTILINE)


async def test_help_shows_whole_summaries(hivectl: Hivectl) -> None:
    listed = (await hivectl("--help")).out.partition("Agents:")[2].partition("Exit codes:")[0]
    rows = [line for line in listed.splitlines() if line.startswith("  ") and line.strip()]
    assert [row for row in rows if row.endswith("...") or not row[2:3].isalpha()] == []
    assert {row.split()[0] for row in rows} == set(command_table.names())


def test_history_takes_every_state_of_a_message() -> None:
    assert list(MessageState) == STATES


def test_every_error_of_the_hive_has_an_exit_code() -> None:
    assert {name.rpartition(".")[2] for name in TABLE} == set(BY_ERROR)
