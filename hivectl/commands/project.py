"""The commands about projects: project add, list, show, fetch, cancel, set, reset, remove."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hivectl.arguments.completers import complete_agents, complete_projects
from hivectl.arguments.types import number, seconds
from hivectl.command_table import Group
from hivectl.exit_codes import CommandError, Exit
from hivectl.output import json_forms
from hivectl.output.formats import age, local_time, size
from hivectl.output.terminal import Cell, Output, Row, confirm, state_cell
from hivectl.output.text import literal, one_line
from hivectl.session import hive_command

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hivectl.clients.hive import Hive
    from wire.records.changes import PublishMode
    from wire.records.lifecycle import ProjectAccess
    from wire.records.projects import FetchProgress, Project, ProjectDetails

WAYS = ("merge", "squash", "rebase", "branch")
"""The ways of an approved change into its branch."""
FETCH_SECONDS = 3600
QUARTER = 4
MAX_SHOWN = 20


@click.group(cls=Group)
def project() -> None:
    """Give repositories to agents, and keep them up to date.

    A project is a repository that this host keeps: a copy of one on a forge or in a directory, or
    one that lives in the hive alone. An agent never gets the credential for upstream.
    """


_name = click.argument("name", shell_complete=complete_projects)
_credential = click.option(
    "--credential",
    metavar="CREDENTIAL",
    help="The deploy key or token, which `hivectl credentials set --project` has stored.",
)
_how = click.option(
    "--how",
    type=click.Choice(WAYS),
    help="How approved changes get into their branches (`hivectl approve`).",
)
_no_wait = click.option(
    "--no-wait", is_flag=True, help="Return at once; do not wait for the end of the fetch."
)
_timeout = click.option(
    "--timeout",
    type=seconds,
    default=FETCH_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="Stop waiting after SECONDS; the fetch continues.",
)


@project.command("add")
@click.argument("name")
@click.argument("source", default="")
@click.option("--branch", metavar="BRANCH", help="The branch of the agents, if not upstream's own.")
@_credential
@click.option(
    "--depth",
    type=number(1, 1_000_000),
    metavar="N",
    help="Fetch only the newest N commits of each branch.",
)
@click.option(
    "--filter",
    "filter_",
    metavar="FILTER",
    help="Leave out files that the branch does not need: blob:none, blob:limit=SIZE or tree:0.",
)
@click.option(
    "--private",
    is_flag=True,
    help="Allow a host of a private network, or this host.",
)
@_how
@_no_wait
@_timeout
@hive_command
async def add_project(
    hive: "Hive",
    output: Output,
    name: str,
    source: str,
    branch: str | None,
    credential: str | None,
    depth: int | None,
    filter_: str | None,
    private: bool,
    how: str | None,
    no_wait: bool,
    timeout: float,
) -> None:
    """Add the project NAME, and fetch it.

    SOURCE is https://HOST/PATH, ssh://USER@HOST/PATH, USER@HOST:PATH, or a directory of this host
    that the user hive-projects may read. Without SOURCE the project has no upstream: its
    repository is new, and lives in this hive alone.

    Submodules and the contents of Git LFS are not fetched. The key of an ssh host is kept with the
    first fetch, and no other key is accepted then; `project show` prints it.
    """
    from wire.records.projects import AddOptions

    options = AddOptions(branch, credential, depth, filter_, private, _mode(how))
    where = _absolute(source)
    await _follow(
        hive,
        output,
        name,
        lambda: hive.projects_client.add(name, where, options),
        no_wait=no_wait or not source,
        timeout=timeout,
        kept=f"{name} is added, and a timer tries again. `hivectl project set {name}` changes it, "
        f"`hivectl project remove {name}` removes it.",
    )


def _mode(how: str | None) -> "PublishMode | None":
    from wire.records.changes import PublishMode

    return None if how is None else PublishMode(how)


def _absolute(source: str) -> str:
    """Return a source; the path of a directory, such as . or ../website, is made absolute.

    Raises:
        CommandError: it begins with the home of a user that does not exist.
    """
    if not source.startswith((".", "~")) and ("/" not in source or ":" in source):
        return source
    try:
        return str(Path(source).expanduser().resolve())
    except RuntimeError:
        raise CommandError(
            Exit.USAGE, f"{source} is not a valid path: there is no such user."
        ) from None


async def _follow(
    hive: "Hive",
    output: Output,
    name: str,
    begin: "Callable[[], Awaitable[None]]",
    *,
    no_wait: bool,
    timeout: float,
    kept: str = "",
) -> None:
    """Begin a fetch, show its progress, and print the project.

    Args:
        hive, output: those of the command.
        name: the project.
        begin: begins the fetch.
        no_wait: whether to return at once.
        timeout: how long to wait, in seconds.
        kept: what a failure leaves, for the operator.

    Raises:
        CommandError: the fetch failed.
    """
    from wire.records.projects import ProjectState

    if no_wait:
        await begin()
        project = await hive.projects.get(name)
    else:
        progress = _Progress(output)
        project = await hive.projects.fetched(name, begin, progress.tell, timeout)
    if project.state is ProjectState.FAILED:
        raise CommandError(Exit.FAILED, f"{name}: {project.message}", kept)
    output.show(json_forms.project(project), [_summary(project)])
    for note in project.notes:
        output.note(note)


class _Progress:
    """Prints each phase of a fetch, and each quarter of it."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._last = ("", -1)

    def tell(self, step: "FetchProgress") -> None:
        quarter = QUARTER * step.done // step.total if step.total else QUARTER
        if (step.phase, quarter) != self._last:
            self._last = (step.phase, quarter)
            self._output.progress(f"{step.phase}: {step.done} of {step.total} …")


def _summary(project: "Project") -> str:
    name = project.name
    if project.state == "fetching":
        return f"{name} is being fetched; `hivectl project show {name}` shows its state"
    branch = literal(project.branch)
    if not project.commit:
        return f"{name}: {branch} has no commits yet"
    return f"{name}: {branch} is at {project.commit[:12]} ({size(project.size)})"


@project.command("list")
@hive_command
async def list_projects(hive: "Hive", output: Output) -> None:
    """List the projects."""
    found = await hive.projects_client.list_projects()
    rows: list[Row] = [
        [
            one.name,
            state_cell(one.state),
            literal(one.branch) or "-",
            one.commit[:12] or "-",
            age(one.fetched) if one.fetched else "-",
            Cell(size(one.size), right=True),
            literal(one.source) or "(this hive)",
        ]
        for one in found
    ]
    headers = ["NAME", "STATE", "BRANCH", "COMMIT", "FETCHED", "SIZE", "SOURCE"]
    nothing = ["no projects yet; `hivectl project add` adds one"]
    output.show([json_forms.project(one) for one in found], output.table(headers, rows) or nothing)


@project.command("show")
@_name
@hive_command
async def show_project(hive: "Hive", output: Output, name: str) -> None:
    """Show the project NAME: its upstream, its branches, its agents, and the key of its host."""
    details = await hive.projects_client.show(name)
    having = await _having(hive, name)
    shown = json_forms.project_details(details)
    shown["agents"] = None if having is None else list(having)
    output.show(shown, _details(details, having, output))


async def _having(hive: "Hive", name: str) -> "dict[str, ProjectAccess] | None":
    """Return the agents that have a project; None if lifecycle cannot be asked."""
    from wire.errors import Unavailable

    try:
        agents = await hive.agents.all()
    except Unavailable:
        return None
    return {
        agent.name: access
        for agent in agents
        for access in agent.projects
        if access.project == name
    }


def _agents(having: "dict[str, ProjectAccess] | None") -> str:
    if having is None:
        return "not known: lifecycle does not answer"
    return ", ".join(
        f"{agent} (read-only)" if access.readonly else agent for agent, access in having.items()
    )


def _details(
    details: "ProjectDetails", having: "dict[str, ProjectAccess] | None", output: Output
) -> list[str]:
    one = details.project
    state = state_cell(one.state)
    lines = [
        f"{one.name}: {output.paint(state.text, state.colour)}",
        *(output.indented(one.message) if one.message else ()),
        f"  source      {literal(one.source) or '(this hive)'}",
        f"  branch      {literal(one.branch) or '-'}  {one.commit[:12]}".rstrip(),
        f"  fetched     {local_time(one.fetched) if one.fetched else '-'}",
        f"  size        {size(one.size)}",
        f"  changes     {one.how}",
        f"  credential  {literal(one.credential) or '-'}",
        f"  agents      {_agents(having) or '-'}",
    ]
    if one.depth or one.filter:
        parts = [f"the newest {one.depth} commits"] if one.depth else []
        parts += [literal(one.filter)] if one.filter else []
        lines.append(f"  only        {', '.join(parts)}")
    lines += [f"  host key    {literal(key)}" for key in details.host_keys]
    lines += [f"  note        {literal(note)}" for note in one.notes]
    rows: list[Row] = [
        [
            f"  {literal(branch.name)}",
            branch.commit[:12],
            local_time(branch.committed),
            literal(branch.subject),
        ]
        for branch in details.branches[:MAX_SHOWN]
    ]
    lines += ["", *output.table(["  BRANCH", "COMMIT", "DATE", "SUBJECT"], rows)] if rows else []
    if (more := details.branch_count - len(rows)) > 0:
        lines.append(f"  and {more} more branches")
    return lines


@project.command("fetch")
@_name
@_no_wait
@_timeout
@hive_command
async def fetch_project(
    hive: "Hive", output: Output, name: str, no_wait: bool, timeout: float
) -> None:
    """Fetch the project NAME from its upstream now.

    A timer fetches all projects every quarter of an hour, too (hive-fetch.timer).
    """
    await _follow(
        hive,
        output,
        name,
        lambda: hive.projects_client.fetch(name),
        no_wait=no_wait,
        timeout=timeout,
    )


@project.command("cancel")
@_name
@hive_command
async def cancel_fetch(hive: "Hive", output: Output, name: str) -> None:
    """Cancel the running fetch of the project NAME."""
    await hive.projects_client.cancel_fetch(name)
    output.show({"name": name, "cancelled": True}, [f"the fetch of {name} is cancelled"])


@project.command("set")
@_name
@click.option("--source", metavar="SOURCE", help="The upstream, as for `project add`.")
@click.option("--branch", metavar="BRANCH", help="The branch of the agents.")
@_credential
@click.option("--no-credential", is_flag=True, help="Fetch without a credential.")
@click.option(
    "--private/--public",
    "private",
    default=None,
    help="Allow a host of a private network, or this host; or do not.",
)
@click.option(
    "--forget-host-keys",
    is_flag=True,
    help="Accept the key that the ssh host has now, and keep it.",
)
@_how
@_no_wait
@_timeout
@hive_command
async def set_project(
    hive: "Hive",
    output: Output,
    name: str,
    source: str | None,
    branch: str | None,
    credential: str | None,
    no_credential: bool,
    private: bool | None,
    forget_host_keys: bool,
    how: str | None,
    no_wait: bool,
    timeout: float,
) -> None:
    """Change the project NAME, and fetch it again."""
    from wire.records.projects import SetOptions

    if credential is not None and no_credential:
        raise CommandError(Exit.USAGE, "Give either --credential or --no-credential.")
    options = SetOptions(
        source=None if source is None else _absolute(source),
        branch=branch,
        credential="" if no_credential else credential,
        private=private,
        how=_mode(how),
        forget_host_keys=forget_host_keys,
    )
    if options == SetOptions():
        raise CommandError(
            Exit.USAGE, "Give at least one option to change; see `hivectl project set --help`."
        )
    await _follow(
        hive,
        output,
        name,
        lambda: hive.projects_client.set(name, options),
        no_wait=no_wait,
        timeout=timeout,
    )


@project.command("reset")
@click.argument("agent", shell_complete=complete_agents)
@click.argument("name", shell_complete=complete_projects)
@hive_command
async def reset_project(hive: "Hive", output: Output, agent: str, name: str) -> None:
    """Make the working copy of the project NAME in AGENT clean.

    It is then at the branch of the project, without changes and further files. The work in it is
    kept: as references, which the command prints, or in a directory beside it if git cannot read
    it. Ignored files and worktrees are left alone. The agent must run, and have no turn.
    """
    from wire.clients.lifecycle import LONG_SECONDS

    text = await hive.agents.call(
        agent, lambda client: client.within(LONG_SECONDS).reset_project(name)
    )
    output.show({"agent": agent, "project": name, "text": text}, [one_line(text)])


@project.command("remove")
@_name
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@hive_command
async def remove_project(hive: "Hive", output: Output, name: str, yes: bool) -> None:
    """Delete the project NAME with its repository; upstream is not changed."""
    if not yes:
        found = await hive.projects.get(name)
        alone = "" if found.source else " It has no upstream: this is the only copy."
        confirm(f"Delete the repository of {name}?{alone}", "project remove")
    await hive.projects_client.remove(name)
    output.show({"name": name, "removed": True}, [f"{name} is removed"])


COMMANDS = [project]
