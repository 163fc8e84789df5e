"""The repositories of projects that a container sees, read-only.

They belong to hive-projects. Containers see the repository itself and nothing else of a project.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from services.lifecycle.backends.layout import Layout
from wire.errors import Conflict

INSIDE: Final = "/projects"
"""The directory in the container with the repositories, as NAME.git."""
REPOSITORY: Final = "upstream.git"


def path_inside(project: str) -> str:
    """Return the path of a repository in the container."""
    return f"{INSIDE}/{project}.git"


def repository(layout: Layout, project: str) -> Path:
    """Return the path of a repository on the host."""
    return layout.projects / project / REPOSITORY


def check(layout: Layout, agent: str, projects: Iterable[str]) -> None:
    """Check that the projects of an agent have a repository on this host.

    Raises:
        Conflict: one has none.
    """
    for project in projects:
        path = repository(layout, project)
        if path.is_symlink() or not path.is_dir():
            raise Conflict(
                f"The agent.toml of {agent} names the project {project}, which has no repository "
                f"on this host. Add it (hivectl project add {project} SOURCE), or take it out of "
                "`projects`."
            )


def mounts(layout: Layout, projects: Iterable[str]) -> Iterator[str]:
    """Yield the lines of the settings that show the repositories to a container."""
    for project in projects:
        yield f"BindReadOnly={repository(layout, project)}:{path_inside(project)}"


def assertions(layout: Layout, projects: Iterable[str]) -> Iterator[str]:
    """Yield the lines of the drop-in without which the container does not start.

    nspawn opens the paths as root, and would follow a link that the user of projects put there.
    """
    for project in projects:
        path = repository(layout, project)
        yield f"AssertPathIsDirectory={path}"
        yield f"AssertPathIsSymbolicLink=!{path.parent}"
        yield f"AssertPathIsSymbolicLink=!{path}"
