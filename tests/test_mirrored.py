"""Words that are written down on both sides of a border that no import crosses."""

import re
from dataclasses import fields
from pathlib import Path

from harness.claude import choices, forms, permissions, process
from harness.telemetry import telemetry, turn_spans
from harness.telemetry.span import Span
from hivectl.output.terminal import STATE_WORDS
from services.endpoint.tools.telemetry import RecordSpans, SpanArguments
from services.gateway import clients
from services.ledger.requests import requests
from wire import names, steering
from wire.agent_web import records
from wire.records import broker, lifecycle

REPO = Path(__file__).parents[1]
PROMPT = REPO / "services/dashboard/static/prompt.js"
AGENT_ORDER = REPO / "services/dashboard/static/agent_order.js"


def test_the_page_and_hivectl_mean_the_same_by_a_crash_loop() -> None:
    source = AGENT_ORDER.read_text()
    assert f"const CRASH_LOOP = {lifecycle.CRASH_LOOP};" in source
    assert f"const IN_A_ROW_US = {lifecycle.CRASHES_IN_A_ROW_US:_};" in source
    for state, words in STATE_WORDS.items():
        assert f'"{state}": "{words}"' in source


def test_the_harness_takes_the_same_levels_of_effort() -> None:
    assert choices.EFFORTS == steering.EFFORTS


def test_the_harness_names_the_tools_of_the_hive_as_the_host_does() -> None:
    assert f"mcp__{process.HIVE_SERVER}__" == names.OWN_TOOLS


def test_the_choices_of_questions_about_calls_are_the_same() -> None:
    for name in ("ALLOW_ALWAYS", "DENY"):
        assert getattr(permissions, name) == getattr(broker, name)
    for name in ("DECLINE", "LEAVE_OUT"):
        assert getattr(forms, name) == getattr(broker, name)


def test_a_gateway_waits_longer_for_a_reservation_than_the_ledger_does() -> None:
    assert clients.RESERVE_SECONDS >= requests.WAIT_SECONDS + clients.SECONDS


def test_each_field_of_the_harnesss_spans_reaches_telemetry() -> None:
    span = Span(
        operation="chat",
        trace="1" * 32,
        started=1.5,
        parent="2" * 16,
        span="3" * 16,
        ended=2.5,
        links=[f"00-{'4' * 32}-{'5' * 16}-01"] * turn_spans.MAX_LINKS,
        error="overloaded",
        session="s",
        model="asked",
        answered_by="answered",
        answer="msg_1",
        finish="end_turn",
        input_tokens=6,
        output_tokens=7,
        cache_read_tokens=8,
        cache_write_tokens=9,
        tool="Bash",
        call="toolu_1",
        turn=10,
        messages=[11] * turn_spans.MAX_MESSAGES,
        outcome="done",
        cost_usd=0.25,
    )
    sent = span.arguments()
    assert set(sent) == {field.name for field in fields(Span)}, "a field is empty in this test"
    assert set(sent) == set(SpanArguments.model_fields)
    call = RecordSpans.model_validate({"spans": [sent] * telemetry.BATCH})
    expected = {**sent, "started": 1_500_000, "ended": 2_500_000, "cost": 250_000}
    del expected["cost_usd"]
    assert [each.record()._asdict() for each in call.spans] == [expected] * telemetry.BATCH


def test_the_page_has_the_same_words() -> None:
    script = PROMPT.read_text(encoding="utf-8")
    [levels] = re.findall(r"const LEVELS = \[(.*)\];", script)
    assert tuple(re.findall(r'"([^"]+)"', levels)) == steering.EFFORTS
    assert f'const DEFAULT = "{steering.DEFAULT}";' in script
    found = re.findall(r'name: "([^"]+)",(?: argument: "([^"]+)",)? hint: "([^"]+)"', script)
    page = {name: steering.SlashCommand(argument, hint) for name, argument, hint in found}
    del page["help"], page["clear"]
    assert page == steering.SLASH_COMMANDS


def test_the_types_of_events_are_documented() -> None:
    page = (REPO / "docs/persistence.md").read_text(encoding="utf-8")
    table = page.partition("## The record of an agent")[2].partition(
        "`hyperhive-turn-stats.sqlite`"
    )[0]
    cells = re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE)
    documented = [name for cell in cells for name in re.findall(r"`([a-z-]+)`", cell)]
    assert sorted(documented) == sorted(records.DATA)
