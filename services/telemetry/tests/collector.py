"""A collector of traces for tests: it takes OTLP over HTTP, as the OpenTelemetry collector does."""

import gzip
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

LIMIT: Final = 60.0


@dataclass(frozen=True)
class Span:
    """A span, as it was received. Times are in nanoseconds since 1970."""

    name: str
    trace: str
    span: str
    parent: str
    kind: int
    links: list[tuple[str, str]]
    started: int
    ended: int
    failed: bool
    attributes: dict[str, Any]
    resource: dict[str, Any]
    schema: str


class Collector(ThreadingHTTPServer):
    """A collector on a port of the loopback, which keeps what it gets.

    Attributes:
        spans: The spans, in the order in which they came.
        headers: The headers of the last request.
        refused: The requests that were answered with `status`.
        status: The status of all answers; 503 is for a collector that is away.
    """

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.spans: list[Span] = []
        self.headers: dict[str, str] = {}
        self.refused = 0
        self.status = 200
        self.came = threading.Condition()

    @property
    def url(self) -> str:
        """The address, as `telemetry.endpoint` takes it."""
        return f"http://127.0.0.1:{self.server_port}"

    def until(self, condition: Callable[[list[Span]], object]) -> list[Span]:
        """Wait until `condition` holds for the spans; return them."""
        with self.came:
            if not self.came.wait_for(lambda: condition(self.spans), LIMIT):
                raise TimeoutError(f"these came: {[span.name for span in self.spans]}")
            return list(self.spans)

    def until_refused(self, count: int) -> None:
        """Wait until `count` requests were refused."""
        with self.came:
            if not self.came.wait_for(lambda: self.refused >= count, LIMIT):
                raise TimeoutError(f"{self.refused} were refused")


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        """Take spans."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Content-Encoding"] == "gzip":
            body = gzip.decompress(body)
        with self.server.came:
            self.server.headers = {name.lower(): value for name, value in self.headers.items()}
            status = self.server.status if self.path == "/v1/traces" else 404
            if status == 200:
                self.server.spans += _spans(ExportTraceServiceRequest.FromString(body))
            else:
                self.server.refused += 1
            self.server.came.notify_all()
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def _spans(request: ExportTraceServiceRequest) -> Iterator[Span]:
    for of_resource in request.resource_spans:
        resource = _attributes(of_resource.resource.attributes)
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                yield Span(
                    name=span.name,
                    trace=span.trace_id.hex(),
                    span=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    kind=span.kind,
                    links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
                    started=span.start_time_unix_nano,
                    ended=span.end_time_unix_nano,
                    failed=span.status.code == 2,
                    attributes=_attributes(span.attributes),
                    resource=resource,
                    schema=of_scope.schema_url,
                )


def _attributes(pairs: Any) -> dict[str, Any]:
    values: list[KeyValue] = list(pairs)
    return {pair.key: _value(pair.value) for pair in values}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, kind) if kind else None


@contextmanager
def collector(port: int = 0) -> Iterator[Collector]:
    """Serve a collector on a port of the loopback; 0 is any."""
    with Collector(port) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        try:
            yield serving
        finally:
            serving.shutdown()
            thread.join()
