"""org.hyperhive.Ledger1 on the bus. Forwards, and nothing else."""

from services.ledger.ledger import Ledger
from wire import names
from wire.interface import Interface, caller, method, signal
from wire.principal import AGENTS, OPERATOR, service
from wire.records import ledger as records
from wire.records.ledger import Cost, Turn
from wire.types import Dict, Int64, Str, UInt32, UInt64


class Ledger1(Interface, name=names.LEDGER):
    """The object of the service."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        ledger.on_recorded = self._signal_recorded

    @method(allow=AGENTS)
    async def RecordTurn(self, turn: Dict) -> None:
        self._ledger.record(caller().name, turn)

    @method(allow=OPERATOR)
    async def ListTurns(self, filter: Dict, limit: UInt32) -> list[Turn]:
        return await self._ledger.list_turns(filter, limit)

    @method(allow=OPERATOR)
    async def Costs(self, filter: Dict) -> list[Cost]:
        return await self._ledger.costs(filter)

    @method(allow=OPERATOR | service("vacuum"))
    async def Vacuum(self) -> UInt64:
        return await self._ledger.vacuum()

    @signal()
    def TurnRecorded(self, agent: Str, id: UInt64, started: Int64, cost: UInt64) -> None: ...

    def _signal_recorded(self, turn: records.TurnRecorded) -> None:
        self.TurnRecorded(*turn)
