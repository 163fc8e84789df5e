"""The composition root of hive-ledger.service."""

import logging
import time
from collections.abc import Sequence
from typing import Final

from services import unit
from services.alarm import TimerFdAlarm
from services.config import Config
from services.directories import state_directory
from services.ledger import clients
from services.ledger.budgets import store as budget_store
from services.ledger.budgets.allowances import Allowances
from services.ledger.budgets.budgets import Budgets
from services.ledger.budgets.enforcer import Enforcer
from services.ledger.budgets.notices import Notices
from services.ledger.clients import BusBroker
from services.ledger.egress.hosts import Hosts
from services.ledger.egress.store import EgressStore
from services.ledger.interface import Ledger1
from services.ledger.ledger import Ledger, Parts
from services.ledger.prices.prices import Prices
from services.ledger.requests.requests import Requests
from services.ledger.storage.database import Database
from services.ledger.turns.store import TurnStore
from services.ledger.turns.turns import Turns
from wire import names
from wire.bus import Bus
from wire.errors import HiveError
from wire.signals import DAEMON, DAEMON_PATH, Subscription

log = logging.getLogger(__name__)

_RETRY: Final = 60_000_000
"""Microseconds until the end of a period is tried again that could not be written."""


def _now() -> int:
    return time.time_ns() // 1000


class LedgerService(unit.Service):
    """The running service."""

    def __init__(
        self,
        ledger: Ledger,
        parts: Parts,
        interface: Ledger1,
        enforcer: Enforcer,
        notices: Notices,
        subscriptions: Sequence[Subscription],
    ) -> None:
        self._ledger = ledger
        self._parts = parts
        self._interface = interface
        self._enforcer = enforcer
        self._notices = notices
        self._subscriptions = subscriptions
        self._alarm = TimerFdAlarm(self._look_again)

    async def start(self) -> None:
        """Send the notices of an earlier run, and wait for the end of the day."""
        self._notices.deliverer.start()
        self._look_again()

    async def run(self) -> None:
        """Enforce the budgets until cancelled."""
        await self._enforcer.run()

    async def close(self) -> None:
        """Stop listening and close the store; the next start goes on from there."""
        self._alarm.close()
        for subscription in self._subscriptions:
            await subscription.close()
        await self._notices.deliverer.stop()
        self._interface.close()
        self._parts.requests.close()
        self._parts.database.close()

    def _look_again(self) -> None:
        """See to it that periods end when it is time, also when the clock was set."""
        try:
            self._alarm.set(self._ledger.look_again())
        except HiveError as error:
            log.error("cannot end a period of the budgets: %s", error)
            self._alarm.set(_now() + _RETRY)


async def build(bus: Bus, config: Config) -> unit.Service:
    """Put the room together on `bus`, whose name is not owned yet.

    Raises:
        CorruptStore: the store cannot be used.
        Unavailable: the store cannot be written.
    """
    settings = config.ledger
    database = Database(state_directory("ledger") / "ledger.sqlite")
    with database.look() as db:
        allowances = Allowances(settings.budgets, budget_store.allowances(db))
        budgets = Budgets(budget_store.accounts(db), allowances)
    bus_id = str(await bus.call1(DAEMON, DAEMON_PATH, DAEMON, "GetId", ""))
    prices = Prices(settings.prices)
    requests = Requests(database, budgets, prices, settings, bus.watch_sender, bus_id, _now)
    turns = Turns(TurnStore(database), settings, requests, _now)
    hosts = Hosts(EgressStore(database), _now)
    parts = Parts(database, turns, requests, budgets, hosts)
    broker = BusBroker(bus)
    enforcer = Enforcer(database, budgets, broker, requests.credentials, _now)
    requests.on_refused = enforcer.refused
    notices = Notices(database, broker)
    budgets.on_notice = hosts.on_notice = notices.deliverer.wake
    ledger = Ledger(parts, settings, _now)
    ledger.on_outdated = enforcer.cancel

    def broker_appeared() -> None:
        notices.deliverer.broker_appeared()
        enforcer.broker_appeared()

    subscriptions = await clients.listen(
        bus,
        appeared=broker_appeared,
        hold_changed=enforcer.hold_changed,
        question_resolved=enforcer.question_resolved,
    )
    interface = Ledger1(ledger, parts)
    bus.export(names.LEDGER_PATH, interface)
    ledger.recover()
    return LedgerService(ledger, parts, interface, enforcer, notices, subscriptions)


if __name__ == "__main__":
    unit.main("ledger", lambda bus: build(bus, Config.load()), bus_name=names.LEDGER)
