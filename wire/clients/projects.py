"""Projects as its callers see it; docs/dbus.md describes each member."""

from wire import names
from wire.clients.client import Client, remote
from wire.records.projects import AddOptions, HookHeaders, Project, ProjectDetails, SetOptions
from wire.types import Bytes, Str


class ProjectsClient(Client, interface=names.PROJECTS, path=names.PROJECTS_PATH):
    """org.hyperhive.Projects1."""

    @remote("Add")
    async def add(self, name: Str, source: Str, options: AddOptions) -> None:
        """Add a project, and begin to fetch it."""

    @remote("Set")
    async def set(self, name: Str, options: SetOptions) -> None:
        """Change a project, and begin to fetch it if its upstream is concerned."""

    @remote("Remove")
    async def remove(self, name: Str) -> None:
        """Delete a project with its repository."""

    @remote("Fetch")
    async def fetch(self, name: Str) -> None:
        """Begin to fetch a project."""

    @remote("CancelFetch")
    async def cancel_fetch(self, name: Str) -> None:
        """End the fetch of a project that goes on."""

    @remote("FetchAll")
    async def fetch_all(self) -> None:
        """Begin to fetch all projects that have an upstream."""

    @remote("ReceiveHook")
    async def receive_hook(self, name: Str, headers: HookHeaders, body: Bytes) -> None:
        """Fetch a project, if its forge has signed this webhook."""

    @remote("List")
    async def list_projects(self) -> list[Project]:
        """Return all projects, by their names."""

    @remote("Show")
    async def show(self, name: Str) -> ProjectDetails:
        """Return a project with its branches and the keys of its host."""
