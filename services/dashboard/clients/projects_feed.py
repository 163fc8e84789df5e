"""The feed of projects: repositories, and the changes of agents."""

from services.dashboard.clients.feed import Feed
from services.dashboard.state.page_state import PageState
from services.dashboard.state.project_tables import ProjectTables
from wire import names
from wire.bus import Bus
from wire.clients.changes import ChangesClient
from wire.clients.projects import ProjectsClient
from wire.records import decode
from wire.records.changes import ChangeChanged, ChangeFilter
from wire.records.projects import FetchProgress
from wire.signals import Signal

MAX_CHANGES = 1000
"""Changes that have not ended which are shown: the newest."""


class ProjectsFeed(Feed):
    """Projects and changes. Signals carry no texts, so each makes the feed ask for the rows."""

    service = "projects"
    rules = ({"interface": names.PROJECTS}, {"interface": names.CHANGES})

    def __init__(self, bus: Bus, state: PageState, rows: ProjectTables) -> None:
        super().__init__(bus, state)
        self._rows = rows
        self._projects = ProjectsClient(bus)
        self._changes = ChangesClient(bus)
        self._projects_changed = False
        self._changes_changed = False

    async def fetch_all(self) -> None:
        """Fetch all projects, and the changes that have not ended."""
        await self._fetch_projects()
        await self._fetch_changes()

    async def fetch_changes(self) -> None:
        """Fetch the projects, or the changes, if one of them has changed."""
        if self._projects_changed:
            await self._fetch_projects()
        if self._changes_changed:
            await self._fetch_changes()

    async def _fetch_projects(self) -> None:
        self._projects_changed = False
        self._rows.replace_projects(await self._projects.list_projects())

    async def _fetch_changes(self) -> None:
        self._changes_changed = False
        self._rows.replace_changes(
            await self._changes.list_changes(ChangeFilter(limit=MAX_CHANGES))
        )

    def apply(self, signal: Signal) -> None:
        """Take over the progress of a fetch; ask for the rows when others have changed."""
        match signal.member, signal.args:
            case "FetchProgress", values:
                self._rows.put_progress(decode(FetchProgress, values))
            case "ProjectChanged" | "ProjectRemoved", _:
                self._projects_changed = True
                self.request_changes()
            case "ChangeChanged", values:
                self._rows.hear(decode(ChangeChanged, values).id)
                self._changes_changed = True
                self.request_changes()
