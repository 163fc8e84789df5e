"""The rules that keep the tables of projects and of changes that have not ended."""

from collections import Counter
from collections.abc import Iterable

from services.dashboard.state.project_rows import change_row, progress_row, project_row
from services.dashboard.state.tables import Table, Tables
from wire.records.changes import ProjectChange
from wire.records.projects import FetchProgress, Project


class ProjectTables:
    """The projects, and the changes whose state is not final."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._heard: Counter[int] = Counter()

    def replace_projects(self, projects: Iterable[Project]) -> None:
        """Replace all projects; what is known of the progress of their fetches is dropped."""
        self._tables.replace(Table.PROJECTS, {one.name: project_row(one) for one in projects})

    def put_progress(self, progress: FetchProgress) -> None:
        """Note how far the fetch of a project is."""
        if row := self._tables.rows(Table.PROJECTS).get(progress.name):
            new = {**row, "progress": progress_row(progress)}
            self._tables.update(Table.PROJECTS, put={progress.name: new})

    def hear(self, change: int) -> None:
        """Count a signal about a change: its row is another one, even if only a comment is new."""
        self._heard[change] += 1

    def replace_changes(self, changes: Iterable[ProjectChange]) -> None:
        """Replace all changes that have not ended."""
        rows = {str(one.id): change_row(one) | {"heard": self._heard[one.id]} for one in changes}
        self._heard = Counter({number: self._heard[number] for number in map(int, rows)})
        self._tables.replace(Table.CHANGES, rows)
