"""A project, and the states that it may have."""

from typing import Final, NamedTuple

from wire.records.changes import PublishMode
from wire.records.projects import ProjectState

TRANSITIONS: Final = {
    ProjectState.FETCHING: {ProjectState.READY, ProjectState.FAILED, ProjectState.REMOVING},
    ProjectState.READY: {ProjectState.FETCHING, ProjectState.FAILED, ProjectState.REMOVING},
    ProjectState.FAILED: {ProjectState.FETCHING, ProjectState.READY, ProjectState.REMOVING},
    ProjectState.REMOVING: set[ProjectState](),
}
"""The states that may follow each; the row of a project that is removed is deleted."""


class Row(NamedTuple):
    """A project, as the store has it."""

    name: str
    source: str
    branch: str
    state: ProjectState
    message: str
    fetched: int
    """Microseconds since 1970; 0: never."""
    added: int
    size: int
    credential: str
    depth: int
    filter: str
    private: bool
    notes: tuple[str, ...]
    how: PublishMode = PublishMode.MERGE
