"""The composition root of hive-projects.service."""

from services import credentials, unit
from services.config import Config
from services.directories import runtime_directory, state_directory
from services.projects.access import Gate
from services.projects.apps import Apps
from services.projects.clients import BusAgents
from services.projects.credentials import Credentials
from services.projects.fetches import Fetches
from services.projects.hooks import Hooks
from services.projects.interface import Projects1
from services.projects.projects import Projects
from services.projects.repositories import Repositories
from services.projects.rest import Rest
from services.projects.store import Store
from services.resolve import Resolver
from wire import names
from wire.bus import Bus


class ProjectsService(unit.Service):
    """The running service."""

    def __init__(self, projects: Projects, hooks: Hooks, store: Store, resolver: Resolver) -> None:
        self._projects = projects
        self._hooks = hooks
        self._store = store
        self._resolver = resolver

    async def start(self) -> None:
        """Go on with the fetches of an earlier run."""
        self._projects.start()

    async def close(self) -> None:
        """End the fetches and close the store; the next start goes on from there."""
        self._hooks.close()
        await self._projects.close()
        self._resolver.close()
        self._store.close()


async def build(bus: Bus, config: Config) -> unit.Service:
    """Put the room together on `bus`, whose name is not owned yet.

    Raises:
        CorruptStore: the store cannot be used.
        Unavailable: git cannot be used, or the disk is full.
    """
    state = state_directory("projects")
    store = Store(state / "projects.sqlite")
    repositories = Repositories(state)
    resolver = Resolver()
    known = Credentials(credentials.directory())
    gate = Gate(known, resolver, Apps(runtime_directory("projects"), Rest()))
    fetches = Fetches(store, repositories, gate)
    projects = Projects(store, repositories, gate, fetches, BusAgents(bus))
    await projects.reconcile()
    hooks = Hooks(known, projects.fetch)
    bus.export(names.PROJECTS_PATH, Projects1(projects, hooks))
    return ProjectsService(projects, hooks, store, resolver)


if __name__ == "__main__":
    unit.main("projects", lambda bus: build(bus, Config.load()), bus_name=names.PROJECTS)
