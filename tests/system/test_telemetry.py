"""One trace follows a message from the operator to alice and on to bob, at a real collector."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from services.telemetry.tests.collector import Collector, Span, collector
from tests.system.hive import Hive
from tests.system.inside import call, mcp, refused, until_idle, until_state
from wire import names

pytestmark = pytest.mark.system

CONFIG = "/etc/hyperhive/hyperhive.toml"
HEADERS = "/etc/hyperhive/credentials/telemetry"
HARNESS = "hyperhive-harness"
AGENTS = ("alice", "bob")
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SPAN = {"trace": TRACEPARENT[3:35], "span": "c7ad6b7169203331", "operation": "execute_tool"}


def restart(hive: Hive) -> None:
    """Have the services read the configuration, and the agents their part of it."""
    hive.run("systemctl", "restart", "hive-lifecycle", "hive-telemetry", timeout=120)
    until_idle(hive)
    for agent in AGENTS:
        hive.hivectl("restart", agent, timeout=120)
    for agent in AGENTS:
        until_state(hive, agent, "idle", "TurnState")


@pytest.fixture(scope="module")
def collected(swarm: Hive) -> Iterator[Collector]:
    """Start a collector, and configure the hive for it."""
    with collector() as serving:
        before = swarm.run("cat", CONFIG).stdout
        ours = f'[telemetry]\nendpoint = "{serving.url}"\n'
        swarm.run("tee", CONFIG, input=f"{before}\n{ours}")
        swarm.run("sh", "-c", f"umask 077; cat > {HEADERS}/authorization", input="Bearer s3cret\n")
        try:
            restart(swarm)
            yield serving
        finally:
            swarm.run("tee", CONFIG, input=before)
            swarm.run("rm", f"{HEADERS}/authorization")
            restart(swarm)


def until_shown(hive: Hive, words: str) -> None:
    """Wait until `systemctl status` shows these words."""
    status = "systemctl show hive-telemetry -P StatusText"
    source = f"until {status} | grep -q '{words}'; do sleep 0.2; done"
    hive.run("timeout", "60", "sh", "-c", source, timeout=90)


def trace_of(spans: list[Span], message: int) -> list[Span]:
    """Return the spans of the trace to which the turn with a message belongs."""
    traces = [s.trace for s in spans if message in s.attributes.get("hyperhive.messages", [])]
    return [span for span in spans if span.trace in traces]


def turns(spans: list[Span]) -> dict[str, list[Span]]:
    """Return the turns among the spans, by their agents, in the order of their starts."""
    found: dict[str, list[Span]] = {}
    for span in sorted(spans, key=lambda span: span.started):
        if span.attributes["gen_ai.operation.name"] == "invoke_agent":
            found.setdefault(span.resource["service.name"], []).append(span)
    return found


def test_without_a_collector_the_service_ends_well(swarm: Hive) -> None:
    shown = swarm.run("systemctl", "show", "hive-telemetry", "-P", "Result", "-P", "ActiveState")
    assert set(shown.stdout.split()) == {"success", "inactive"}
    answer = call(
        swarm, "alice", "record_spans", HARNESS, spans=[{**SPAN, "started": 1, "ended": 1}]
    )
    assert refused(answer)
    assert swarm.run("stat", "-c", "%U %a", HEADERS).stdout == "root 700\n"


@pytest.mark.long
def test_a_message_from_the_operator_to_alice_to_bob_is_one_trace(
    swarm: Hive, collected: Collector
) -> None:
    done = swarm.hivectl("send", "alice", "play ask bob for six times seven", "--json")
    number = int(json.loads(done.stdout)["id"])

    # alice passes it on, bob answers alice, and alice reads the answer.
    def is_over(spans: list[Span]) -> bool:
        found = turns(trace_of(spans, number))
        return len(found.get("alice", [])) >= 2 and "bob" in found

    spans = trace_of(collected.until(is_over), number)
    assert len({span.trace for span in spans}) == 1
    first, later = turns(spans)["alice"][:2]
    [answering] = turns(spans)["bob"]
    assert (first.name, answering.name) == ("invoke_agent alice", "invoke_agent bob")
    assert first.parent == "", "the operator's message begins the trace"
    assert answering.parent == first.span
    assert later.parent == answering.span
    for turn in (first, answering):
        below = [span for span in spans if span.parent == turn.span and "chat" in span.name]
        assert below
        assert all(span.name.startswith("chat ") for span in below)
        assert all(span.attributes["gen_ai.usage.output_tokens"] > 0 for span in below)
        tools = [s for s in spans if s.parent == turn.span and s.name.startswith("execute_tool")]
        assert any(span.attributes["gen_ai.tool.name"] == "mcp__hive__send" for span in tools)
        assert {span.resource["service.name"] for span in [*below, *tools]} == {
            turn.resource["service.name"]
        }
        assert turn.attributes["gen_ai.usage.input_tokens"] > 0
    assert collected.headers["authorization"] == "Bearer s3cret"
    words = repr(spans)
    assert "six times seven" not in words
    assert "s3cret" not in swarm.run("journalctl", "-u", "hive-telemetry", "--no-pager").stdout


def test_an_agent_exports_as_itself_and_a_hostile_span_is_refused(
    swarm: Hive, collected: Collector
) -> None:
    now = float(swarm.run("date", "+%s").stdout)
    span: dict[str, Any] = {**SPAN, "started": now, "ended": now, "tool": "by-hand"}
    calls = [
        ["record_spans", {"spans": [{**span, "agent": "bob"}]}],
        ["record_spans", {"spans": [{**span, "tool": "a text"}]}],
        ["record_spans", {"spans": [{**span, "ended": now + 10**6}]}],
        ["trace", {"traceparent": "\x1b[2J"}],
        ["record_spans", {"spans": [span]}],
    ]
    *hostile, good = mcp(swarm, "alice", client=HARNESS, calls=calls)
    assert all(refused(answer) for answer in hostile)
    assert not refused(good)
    spans = collected.until(lambda spans: any(s.span == SPAN["span"] for s in spans))
    [found] = [span for span in spans if span.span == SPAN["span"]]
    assert (found.resource["service.name"], found.name) == ("alice", "execute_tool by-hand")


@pytest.mark.long
def test_a_collector_that_is_away_stops_nobody(swarm: Hive, collected: Collector) -> None:
    since = swarm.run("date", "+%s").stdout.strip()
    collected.status = 503
    try:
        swarm.hivectl("send", "alice", "what are 600 plus 66, without a collector?")
        swarm.until_message("operator", "message", "666")
        number = len(collected.spans)
        until_shown(swarm, "does not take spans")
        collected.until_refused(collected.refused + 2)
    finally:
        collected.status = 200
    collected.until(lambda spans: len(spans) > number)
    until_shown(swarm, "takes spans")
    told = swarm.run(
        "journalctl", "-u", "hive-telemetry", f"--since=@{since}", "--no-pager", "-o", "cat"
    ).stdout
    assert told.count("does not take spans: Transient error Service Unavailable") == 1
    assert told.count("takes spans. Until now, 0 were dropped") == 1


@pytest.mark.long
def test_only_agents_call_it(swarm: Hive, collected: Collector) -> None:
    path = names.TELEMETRY_PATH
    record = ("busctl", "call", names.TELEMETRY, path, names.TELEMETRY, "RecordSpans", "aa{sv}")
    for user in ("nobody", "hive-ledger", "hive-dashboard"):
        done = swarm.run("runuser", "-u", user, "--", *record, "0", check=False)
        assert done.returncode != 0
        assert "denied" in done.stderr
    assert swarm.run("busctl", "introspect", names.TELEMETRY, path).returncode == 0
    done = swarm.run(*record, "0", check=False)
    assert done.returncode != 0
    broker = ("busctl", "call", names.BROKER, names.BROKER_PATH, names.BROKER, "Send", "ssa{sv}")
    done = swarm.run(
        "runuser", "-u", "hive-telemetry", "--", *broker, "alice", "x", "0", check=False
    )
    assert "denied" in done.stderr.lower()
