"""The composition root of hive-approvals.service."""

from collections.abc import Sequence

from services import unit
from services.approvals import clients
from services.approvals.approvals import Approvals
from services.approvals.clients import BusBroker, BusLifecycle
from services.approvals.comparisons import Comparisons
from services.approvals.configurations import Configurations
from services.approvals.deploys.adopter import Adopter
from services.approvals.deploys.controller import Controller
from services.approvals.deploys.deployer import Deployer
from services.approvals.deploys.reconciler import Reconciler
from services.approvals.git.agent_flakes import AgentFlakes
from services.approvals.git.meta import Meta
from services.approvals.git.repositories import Repositories
from services.approvals.interface import Approvals1
from services.approvals.ledger import Ledger
from services.approvals.notifier import Notice, Notifier
from services.approvals.store import Store
from services.config import Config
from services.deliverer import Deliverer
from services.directories import state_directory
from wire import names
from wire.bus import Bus
from wire.signals import Subscription


class ApprovalsService(unit.Service):
    """The running service."""

    def __init__(
        self,
        controller: Controller,
        deliverer: Deliverer[Notice],
        store: Store,
        subscriptions: Sequence[Subscription],
    ) -> None:
        self._controller = controller
        self._deliverer = deliverer
        self._store = store
        self._subscriptions = subscriptions

    async def start(self) -> None:
        """Send the notices of an earlier run."""
        self._deliverer.start()

    async def run(self) -> None:
        """Carry out the approved requests, until cancelled."""
        await self._controller.run()

    async def close(self) -> None:
        """Stop listening and close the store; the next start goes on from there."""
        for subscription in self._subscriptions:
            await subscription.close()
        await self._deliverer.stop()
        self._store.close()


async def build(bus: Bus, config: Config) -> unit.Service:
    """Put the room together on `bus`, whose name is not owned yet.

    Raises:
        CorruptStore: the store cannot be used.
        Unavailable: git cannot be used, or the disk is full.
    """
    state = state_directory("approvals")
    git = state.with_name("git")
    store = Store(state / "approvals.sqlite")
    settings = config.approvals
    ledger = Ledger(
        store, max_pending=settings.max_pending, requests_per_hour=settings.requests_per_hour
    )
    flakes = config.lifecycle.backend == "nixos"
    repositories = Repositories(git, flakes=flakes)
    meta = Meta(git, AgentFlakes(git, config.nixos) if flakes else None)
    await repositories.prepare()
    await meta.recover()
    ledger.record_again()
    lifecycle = BusLifecycle(bus)
    reconciler = Reconciler(ledger, repositories, meta)
    deployer = Deployer(ledger, reconciler, lifecycle)
    adopter = Adopter(ledger, reconciler, lifecycle)
    notifier = Notifier(ledger, BusBroker(bus))
    controller = Controller(ledger, reconciler, deployer, adopter, notifier, lifecycle)
    deliverer = notifier.deliverer
    subscriptions = await clients.listen(bus, controller, deliverer.broker_appeared)
    approvals = Approvals(ledger, repositories, meta, reconciler, deployer, lifecycle)
    comparisons = Comparisons(ledger, repositories, reconciler)
    configurations = Configurations(approvals, ledger, repositories, comparisons)
    interface = Approvals1(approvals, comparisons, configurations, ledger)
    bus.export(names.APPROVALS_PATH, interface)
    return ApprovalsService(controller, deliverer, store, subscriptions)


if __name__ == "__main__":
    unit.main("approvals", lambda bus: build(bus, Config.load()), bus_name=names.APPROVALS)
