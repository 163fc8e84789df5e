"""Which agents have which projects."""

from fnmatch import fnmatchcase
from typing import NamedTuple, Protocol

from wire.errors import AccessDenied


class Grant(NamedTuple):
    """The rights of an agent in a project, as its deployed agent.toml gives them."""

    readonly: bool = False
    """Whether it may not submit changes."""
    branches: tuple[str, ...] = ()
    """Patterns of the branches for which it may submit changes; empty: all of them."""


class Members(Protocol):
    """The projects of the agents."""

    async def grants(self, agent: str) -> dict[str, Grant]:
        """Return the projects of an agent, with its rights in each.

        Raises:
            HiveError: they cannot be found out now.
        """


async def check(members: Members, agent: str, project: str) -> Grant:
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
    grant = await check(members, agent, project)
    if grant.readonly:
        raise AccessDenied(
            f"You may read {project}, but not submit changes to it (`readonly` in agent.toml). "
            "Describe the change to the operator instead."
        )
    if grant.branches and not any(fnmatchcase(branch, one) for one in grant.branches):
        raise AccessDenied(
            f"You may submit changes of {project} for {', '.join(grant.branches)}, but not for "
            f"{branch[:100]!r} (`branches` in agent.toml)."
        )
