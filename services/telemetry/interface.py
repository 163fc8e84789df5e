"""org.hyperhive.Telemetry1 on the bus. Forwards, and nothing else."""

from services.telemetry.telemetry import Telemetry
from wire import names
from wire.interface import Interface, caller, method
from wire.principal import AGENTS
from wire.types import Dict


class Telemetry1(Interface, name=names.TELEMETRY):
    """The object of the service."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    @method(allow=AGENTS)
    async def RecordSpans(self, spans: list[Dict]) -> None:
        self._telemetry.record(caller().name, spans)
