"""The projects that agents have."""

from typing import Protocol

from wire.errors import AccessDenied
from wire.records.lifecycle import ProjectAccess


class Members(Protocol):
    """The projects of the agents."""

    async def grants(self, agent: str) -> dict[str, ProjectAccess]:
        """Return the projects that the deployed agent.toml of an agent names, by their names.

        Raises:
            Unavailable: lifecycle cannot be asked.
        """


async def check(members: Members, agent: str, project: str) -> ProjectAccess:
    """Return the rights of an agent in a project.

    Raises:
        AccessDenied: it does not have the project.
    """
    grants = await members.grants(agent)
    if project in grants:
        return grants[project]
    known = f"You have {', '.join(sorted(grants))}." if grants else "You have no projects."
    raise AccessDenied(
        f"You do not have the project {project[:40]!r}. {known} The operator gives projects to "
        "agents (`projects` in agent.toml): ask for it."
    )


async def check_branch(members: Members, agent: str, project: str, branch: str) -> None:
    """Check that an agent may submit changes for a branch of a project.

    Raises:
        AccessDenied: it may not.
    """
    access = await check(members, agent, project)
    if refusal := access.refusal(branch[:200]):
        raise AccessDenied(refusal)
