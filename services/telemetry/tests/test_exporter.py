"""The exporter and a real collector, by OTLP over HTTP."""

import socket

import pytest

from services.telemetry.checks import check_spans
from services.telemetry.exporter import SCHEMA, OtlpExporter
from services.telemetry.telemetry import ExportError, Owned
from services.telemetry.tests.collector import Collector
from services.telemetry.tests.conftest import NOON, TRACE, TRACEPARENT, span

INTERNAL, CLIENT = 1, 3
"""Kinds of spans in OTLP."""


def owned(agent: str, **values: object) -> Owned:
    [checked] = check_spans([span(**values)], NOON)  # type: ignore[arg-type]
    return Owned(agent, checked)


def test_the_names_are_those_of_the_conventions(served: Collector) -> None:
    exporter = OtlpExporter(served.url, {"authorization": "Bearer s3cret"})
    turn = owned(
        "alice",
        number=1,
        operation="invoke_agent",
        parent="b7ad6b7169203331",
        links=[TRACEPARENT],
        session="session-1",
        model="opus",
        answered_by="claude-opus",
        input_tokens=30,
        output_tokens=5,
        cache_read_tokens=20,
        cache_write_tokens=7,
        turn=3,
        messages=[8, 9],
        outcome="done",
        cost=12_000,
    )
    chat = owned(
        "alice", number=2, parent=f"{1:016x}", model="opus", finish="tool_use", answer="msg_1"
    )
    tool = owned(
        "bob", number=3, operation="execute_tool", tool="Bash", call="toolu_1", error="tool_error"
    )
    exporter.export([turn, chat, tool])
    exporter.close()
    assert served.headers["authorization"] == "Bearer s3cret"
    first, second, third = served.spans
    assert (first.name, first.kind, first.failed) == ("invoke_agent alice", INTERNAL, False)
    assert (first.trace, first.span, first.parent) == (TRACE, f"{1:016x}", "b7ad6b7169203331")
    assert first.links == [(TRACE, "b7ad6b7169203331")]
    assert (first.started, first.ended) == ((NOON - 2_000_000) * 1000, (NOON - 1_000_000) * 1000)
    assert first.attributes == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "alice",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.conversation.id": "session-1",
        "gen_ai.request.model": "opus",
        "gen_ai.response.model": "claude-opus",
        "gen_ai.usage.input_tokens": 30,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.usage.cache_read.input_tokens": 20,
        "gen_ai.usage.cache_creation.input_tokens": 7,
        "hyperhive.turn": 3,
        "hyperhive.messages": [8, 9],
        "hyperhive.outcome": "done",
        "hyperhive.cost_usd": 0.012,
    }
    assert first.schema == SCHEMA
    assert first.resource["service.name"] == "alice"
    assert first.resource["service.namespace"] == "hyperhive"
    assert first.resource["host.name"] == socket.gethostname()
    assert (second.name, second.kind, second.parent) == ("chat opus", CLIENT, f"{1:016x}")
    assert second.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.agent.name": "alice",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "opus",
        "gen_ai.response.finish_reasons": ["tool_use"],
        "gen_ai.response.id": "msg_1",
    }
    assert (third.name, third.kind, third.failed) == ("execute_tool Bash", INTERNAL, True)
    assert third.resource["service.name"] == "bob"
    assert third.attributes == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.agent.name": "bob",
        "gen_ai.tool.name": "Bash",
        "gen_ai.tool.call.id": "toolu_1",
        "error.type": "tool_error",
    }


def test_a_refusal_is_an_error_with_the_reason(
    served: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    served.status = 401
    exporter = OtlpExporter(f"{served.url}/", {})
    with pytest.raises(ExportError, match="401"):
        exporter.export([owned("alice")])
    assert served.refused == 1
    assert caplog.records == [], "the service says it once, in its own words"
    served.status = 200
    exporter.export([owned("alice")])
    assert len(served.spans) == 1
    exporter.close()


def test_a_closed_port_is_an_error_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.telemetry.exporter.TIMEOUT", 3.0)
    exporter = OtlpExporter("http://127.0.0.1:1", {})
    with pytest.raises(ExportError, match=r"[Cc]onnection refused"):
        exporter.export([owned("alice")])
    exporter.close()
