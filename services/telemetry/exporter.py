"""The spans as OpenTelemetry has them, sent to the collector by OTLP over HTTP.

This is the only module that loads OpenTelemetry, and the only one that knows the names of its
attributes. They are those of the semantic conventions for generative AI, version 1.41.0;
docs/telemetry.md has the table.
"""

import logging
import socket
import ssl
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.util.types import AttributeValue

from services.telemetry.telemetry import ExportError, Owned
from wire.records.telemetry import Operation, Span
from wire.trace import parse_traceparent

SEMCONV: Final = "1.41.0"
"""The version of the semantic conventions whose names the attributes have."""
SCHEMA: Final = f"https://opentelemetry.io/schemas/{SEMCONV}"
TIMEOUT: Final = 10.0
"""Seconds that one export may take, with the tries of OpenTelemetry's exporter."""
PROVIDER: Final = "anthropic"

_LOGGER: Final = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_KINDS: Final = {
    Operation.INVOKE_AGENT: SpanKind.INTERNAL,
    Operation.CHAT: SpanKind.CLIENT,
    Operation.EXECUTE_TOOL: SpanKind.INTERNAL,
}
_NAMES: Final = {
    "session": "gen_ai.conversation.id",
    "model": "gen_ai.request.model",
    "answered_by": "gen_ai.response.model",
    "answer": "gen_ai.response.id",
    "input_tokens": "gen_ai.usage.input_tokens",
    "output_tokens": "gen_ai.usage.output_tokens",
    "cache_read_tokens": "gen_ai.usage.cache_read.input_tokens",
    "cache_write_tokens": "gen_ai.usage.cache_creation.input_tokens",
    "tool": "gen_ai.tool.name",
    "call": "gen_ai.tool.call.id",
    "error": "error.type",
    "turn": "hyperhive.turn",
    "messages": "hyperhive.messages",
    "outcome": "hyperhive.outcome",
}
"""The attributes of fields that are not empty."""


class _Reason(logging.Filter):
    """The library's first words about an export that fails; they go into one line of ours."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep the words, without the time of the next try, and log nothing."""
        words = " ".join(record.getMessage().split()).partition(", retrying in ")[0]
        self.text = self.text or words[:300]
        return False


class OtlpExporter:
    """The exporter to one collector.

    Args:
        endpoint: the collector's address; `/v1/traces` is appended.
        headers: headers of each request.
    """

    def __init__(self, endpoint: str, headers: Mapping[str, str]) -> None:
        authorities = ssl.get_default_verify_paths().cafile
        self._exporter = OTLPSpanExporter(
            endpoint=f"{endpoint.rstrip('/')}/v1/traces",
            headers=dict(headers),
            timeout=TIMEOUT,
            compression=Compression.Gzip,
            # Those of the host; the library has its own otherwise.
            certificate_file=authorities if authorities and Path(authorities).exists() else None,
        )
        self._scope = InstrumentationScope("hyperhive", version("hyperhive"), SCHEMA)
        self._host = socket.gethostname()
        self._resources: dict[str, Resource] = {}
        self._reason = _Reason()
        logging.getLogger(_LOGGER).addFilter(self._reason)

    def export(self, spans: Sequence[Owned]) -> None:
        """See Exporter."""
        self._reason.text = ""
        try:
            result = self._exporter.export([self._readable(owned) for owned in spans])
        except Exception as error:  # the library lets errors of its HTTP client through
            raise ExportError(" ".join(str(error).split())[:300] or type(error).__name__) from None
        if result is not SpanExportResult.SUCCESS:
            raise ExportError(self._reason.text.rstrip(".") or "it gives no reason")

    def close(self) -> None:
        """End a running export, and close the connection."""
        self._exporter.shutdown()
        logging.getLogger(_LOGGER).removeFilter(self._reason)

    def _readable(self, owned: Owned) -> ReadableSpan:
        agent, span = owned
        failed = Status(StatusCode.ERROR) if span.error else Status(StatusCode.UNSET)
        return ReadableSpan(
            name=_name(agent, span),
            context=_context(span.trace, span.span, remote=False),
            parent=_context(span.trace, span.parent, remote=True) if span.parent else None,
            resource=self._resource(agent),
            attributes=_attributes(agent, span),
            links=[Link(_context(*parse_traceparent(link), remote=True)) for link in span.links],
            kind=_KINDS[span.operation],
            status=failed,
            start_time=span.started * 1000,
            end_time=span.ended * 1000,
            instrumentation_scope=self._scope,
        )

    def _resource(self, agent: str) -> Resource:
        if agent not in self._resources:
            self._resources[agent] = Resource(
                {
                    "service.name": agent,
                    "service.namespace": "hyperhive",
                    "service.version": version("hyperhive"),
                    "host.name": self._host,
                },
                SCHEMA,
            )
        return self._resources[agent]


def _name(agent: str, span: Span) -> str:
    of = {
        Operation.INVOKE_AGENT: agent,
        Operation.CHAT: span.model or span.answered_by,
        Operation.EXECUTE_TOOL: span.tool,
    }[span.operation]
    return f"{span.operation.value} {of}".strip()


def _attributes(agent: str, span: Span) -> dict[str, AttributeValue]:
    found: dict[str, AttributeValue] = {
        "gen_ai.operation.name": span.operation.value,
        "gen_ai.agent.name": agent,
    }
    if span.operation is not Operation.EXECUTE_TOOL:
        found["gen_ai.provider.name"] = PROVIDER
    values = span._asdict()
    found |= {name: values[field] for field, name in _NAMES.items() if values[field]}
    if span.finish:
        found["gen_ai.response.finish_reasons"] = [span.finish]
    if span.cost:
        found["hyperhive.cost_usd"] = span.cost / 1_000_000
    return found


def _context(trace: str, span: str, *, remote: bool) -> SpanContext:
    return SpanContext(int(trace, 16), int(span, 16), is_remote=remote, trace_flags=_SAMPLED)
