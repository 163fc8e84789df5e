"""The composition root of hive-projects.service."""

import logging
from pathlib import Path

from services import credentials, unit
from services.config import Config
from services.deliverer import Deliverer
from services.directories import runtime_directory, state_directory
from services.projects import clients
from services.projects.access import Gate
from services.projects.apps import Apps
from services.projects.changes import notices
from services.projects.changes.changes import Changes
from services.projects.changes.comparisons import Comparisons
from services.projects.changes.model import Notice
from services.projects.changes.publishing import Publishing
from services.projects.changes.review import Review
from services.projects.changes.store import Store as ChangeStore
from services.projects.changes.submissions import Submissions
from services.projects.clients import BusAgents, BusBroker
from services.projects.credentials import Credentials
from services.projects.fetches import Fetches
from services.projects.hooks import Hooks
from services.projects.interface import Changes1, Projects1
from services.projects.projects import Projects
from services.projects.repositories import Repositories
from services.projects.rest import Rest
from services.projects.store import Store
from services.quarantine import runner
from services.quarantine.confinement import Confinement
from services.quarantine.quarantine import SCRATCH
from services.resolve import Resolver
from wire import names
from wire.bus import Bus
from wire.errors import Unavailable
from wire.signals import Subscription

log = logging.getLogger(__name__)


class ProjectsService(unit.Service):
    """The running service."""

    def __init__(
        self,
        projects: Projects,
        hooks: Hooks,
        changes: Changes,
        publishing: Publishing,
        deliverer: Deliverer[Notice],
        subscription: Subscription,
        stores: tuple[Store, ChangeStore],
        resolver: Resolver,
    ) -> None:
        self._projects = projects
        self._hooks = hooks
        self._changes = changes
        self._publishing = publishing
        self._deliverer = deliverer
        self._subscription = subscription
        self._stores = stores
        self._resolver = resolver

    async def start(self) -> None:
        """Go on with what an earlier run did not end."""
        self._projects.start()
        self._publishing.start()
        self._deliverer.start()

    async def close(self) -> None:
        """End what goes on and close the stores; the next start goes on from there."""
        self._hooks.close()
        await self._subscription.close()
        await self._deliverer.stop()
        await self._publishing.close()
        await self._changes.close()
        await self._projects.close()
        self._resolver.close()
        for store in self._stores:
            store.close()
        runner.confine(None)


def _confine(state: Path) -> str:
    """Let the git that reads what agents have written reach no credential and no network.

    Returns:
        Why that is not possible here; empty: it is.
    """
    try:
        runner.confine(Confinement([state, SCRATCH]))
    except Unavailable as error:
        log.warning("%s", error)
        return str(error)
    return ""


async def build(bus: Bus, config: Config) -> unit.Service:
    """Put the room together on `bus`, whose name is not owned yet.

    Raises:
        CorruptStore: a store cannot be used.
        Unavailable: git cannot be used, or the disk is full.
    """
    state = state_directory("projects")
    unconfined = _confine(state)
    store, change_store = Store(state / "projects.sqlite"), ChangeStore(state / "changes.sqlite")
    repositories = Repositories(state)
    resolver = Resolver()
    known = Credentials(credentials.directory())
    gate = Gate(known, resolver, Apps(runtime_directory("projects"), Rest()))
    fetches = Fetches(store, repositories, gate)
    agents = BusAgents(bus)
    projects = Projects(store, repositories, gate, fetches, agents)
    submissions = Submissions(repositories, state.with_name("agents"), refusal=unconfined)
    changes = Changes(change_store, store, repositories, submissions, agents)
    publishing = Publishing(change_store, store, repositories, gate, projects.fetch_quietly)
    review = Review(change_store, store, repositories, publishing)
    deliverer = notices.deliverer(change_store, BusBroker(bus))
    projects.on_deleted = changes.project_removed
    fetches.on_ready = publishing.project_ready
    changes.on_owed = deliverer.wake
    publishing.on_change = review.on_change = changes.announce
    await projects.reconcile()
    await changes.reconcile()
    hooks = Hooks(known, projects.fetch)
    bus.export(names.PROJECTS_PATH, Projects1(projects, hooks))
    comparisons = Comparisons(change_store, repositories)
    bus.export(names.PROJECTS_PATH, Changes1(changes, comparisons, review))
    subscription = await clients.listen(bus, deliverer.broker_appeared)
    return ProjectsService(
        projects,
        hooks,
        changes,
        publishing,
        deliverer,
        subscription,
        (store, change_store),
        resolver,
    )


if __name__ == "__main__":
    unit.main("projects", lambda bus: build(bus, Config.load()), bus_name=names.PROJECTS)
