"""Telemetry as its callers see it; docs/dbus.md describes each member."""

from wire import names
from wire.clients.client import Client, remote
from wire.records.telemetry import Span


class TelemetryClient(Client, interface=names.TELEMETRY, path=names.TELEMETRY_PATH):
    """org.hyperhive.Telemetry1."""

    @remote("RecordSpans")
    async def record_spans(self, spans: list[Span]) -> None:
        """Hand over spans of the caller."""
