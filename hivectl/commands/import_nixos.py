"""The command import-nixos: containers that nixos-container made become agents of this hive."""

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hivectl.exit_codes import CommandError, Exit
from hivectl.jobs import job_done
from hivectl.output.formats import size
from hivectl.output.terminal import Cell, Output, Row, confirm
from hivectl.output.text import literal, safe
from hivectl.session import hive_command

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hivectl.clients.hive import Hive
    from hivectl.host.nixos_import import Tool

JOB_SECONDS = 600.0
"""The seconds that the spawn of an agent may take."""

_DIRECTORY = click.Path(path_type=Path, file_okay=False)


@click.command("import-nixos")
@click.argument("name", required=False)
@click.option("--dry-run", is_flag=True, help="Print what would be done, and do nothing.")
@click.option("--state", type=_DIRECTORY, help="The agent's state, if it is elsewhere.")
@click.option("--claude", type=_DIRECTORY, help="Claude Code's files, if they are elsewhere.")
@click.option(
    "--history",
    type=_DIRECTORY,
    help="The git repository of the agent's configurations, if it is elsewhere.",
)
@click.option(
    "--moved",
    type=(str, str),
    multiple=True,
    metavar="OLD NEW",
    help="The files that were below OLD are below NEW now. May be repeated.",
)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@hive_command
async def import_nixos(
    hive: "Hive",
    output: Output,
    name: str | None,
    dry_run: bool,
    yes: bool,
    state: Path | None,
    claude: Path | None,
    history: Path | None,
    moved: tuple[tuple[str, str], ...],
) -> None:
    """Take over an agent whose container nixos-container made.

    Without NAME, the command lists the containers of agents in /etc/nixos-containers: h-NAME, and
    hm1nd, which is the manager's. The places of the agent's files come from its container.

    The old container is stopped. The files of the agent are copied: its state, the files of Claude
    Code with the login, and /root, /home, /opt and /srv. No file of the original is changed. An API
    key is stored as the credential of NAME (`hivectl credentials list`). Then the agent is spawned
    with the initial configuration of this hive, and the history of its configurations becomes tags
    in /var/lib/hyperhive/git/applied/NAME that begin with imported/.

    The command shows a plan, and asks before it begins. Links are not followed. Devices, pipes,
    sockets and other file systems are left out. If the command is interrupted, run it again. If the
    hive refuses the history, the agent is imported without it, and the command says why. For an
    agent that is imported already, --history imports its history anew, without a question. Only
    root can run the command.
    """
    from hivectl.host.nixos_import import Tool, alone

    if os.geteuid() != 0:
        raise CommandError(
            Exit.DENIED, "Only root can copy the files of agents. Run this command as root."
        )
    if name is None:
        _list(output, await Tool("", {}, ()).run("list"))
        return
    places = {"state": state, "claude": claude, "history": history}
    importing = _Import(hive, output, name, Tool(name, places, moved), history)
    with alone():
        await importing.run(dry_run=dry_run, yes=yes)


def _list(output: Output, containers: list[dict[str, Any]]) -> None:
    states = {"finished": "yes", "unfinished": "not finished: run it again"}
    rows: list[Row] = [
        [one["agent"], one["container"], states.get(one["status"], "no")] for one in containers
    ]
    lines = output.table(["AGENT", "CONTAINER", "IMPORTED"], rows)
    output.show(containers, lines or ["there is no container of an agent in /etc/nixos-containers"])


class _Import:
    """The import of one agent."""

    def __init__(
        self, hive: "Hive", output: Output, name: str, tool: "Tool", history: Path | None
    ) -> None:
        self._hive = hive
        self._output = output
        self._name = name
        self._tool = tool
        self._given_history = history
        self._result: dict[str, Any] = {"agent": name}

    async def run(self, *, dry_run: bool, yes: bool) -> None:
        """Do the steps that are not done yet."""
        status = await self._tool.run("status")
        exists = any(agent.name == self._name for agent in await self._hive.agents.all())
        if exists and status["status"] == "finished":
            await self._renew_history(dry_run=dry_run)
            return
        if exists and status["status"] == "unfinished":
            if dry_run:
                lines = [f"{self._name} is spawned; its history is still to be imported"]
                self._output.show({**self._result, "spawned": True}, lines)
                return
            if self._given_history:
                status = await self._tool.run("history")
        else:
            await self._check_free(status["status"], exists=exists)
            plan = await self._plan()
            if dry_run:
                self._output.show(plan, _lines(plan, self._output))
                return
            self._output.explain(_lines(plan, self._output), always=not yes)
            if not yes:
                confirm(f"Import {self._name}?", "import-nixos")
            status = await self._take_over(plan)
        await self._finish(status)

    async def _renew_history(self, *, dry_run: bool) -> None:
        """Import the history of an imported agent anew, if the operator has given a repository."""
        if self._given_history is None:
            self._output.show(
                {**self._result, "imported": False}, [f"{self._name} is imported already"]
            )
            return
        if dry_run:
            place = literal(str(self._given_history))
            lines = [f"{self._name} is imported already; its history would come from {place}"]
            self._output.show({**self._result, "imported": False}, lines)
            return
        await self._tool.run("history")
        try:
            references = await self._import_history()
        finally:
            await self._tool.run("finish")
        lines = [f"{self._name} is imported already", *self._tag_lines(references)]
        self._output.show({**self._result, "imported": False, "history": references}, lines)

    async def _check_free(self, status: str, *, exists: bool) -> None:
        """Check that the agent has no files or record that the import would replace.

        Raises:
            CommandError: it has.
        """
        if exists:
            why = (
                f"{self._name} exists in this hive. To replace that agent, delete it with all its "
                f"data first: `hivectl destroy --purge {self._name}`"
            )
        elif status == "finished" or await self._has_tombstone():
            # Also of an unfinished import: the agent may have worked since it was spawned.
            why = (
                f"The data of a destroyed agent {self._name} are kept. `hivectl spawn "
                f"{self._name}` creates the agent again with them; `hivectl purge {self._name}` "
                "deletes them"
            )
        elif status == "other":
            why = (
                f"/var/lib/hyperhive/agents/{self._name} exists, and does not belong to an agent "
                "of this hive. If these are the original's files, move them elsewhere, and say so "
                "with --moved"
            )
        else:
            return
        raise CommandError(Exit.CONFLICT, f"{why}. Nothing was done.")

    async def _plan(self) -> dict[str, Any]:
        from hivectl.host.nixos_import import is_running

        plan = dict(await self._tool.run("look"))
        plan["running"] = await is_running(plan["container"])
        return plan

    async def _take_over(self, plan: dict[str, Any]) -> dict[str, Any]:
        """Stop the old container, copy the files and spawn the agent; return the tool's status."""
        from hivectl.host import nixos_import

        if plan["running"]:
            self._output.progress(f"stopping {plan['container']} …")
            await nixos_import.stop(plan["container"])
        self._output.progress(f"copying {size(_bytes(plan))} …")
        copied = await self._tool.run(
            "copy",
            lambda _entries, count: self._output.progress(f"  {size(count)} are copied"),
        )
        if copied["key"]:
            self._store(copied["key"])
        status: dict[str, Any] = await self._tool.run("publish")
        await self._spawn(status["base"])
        left_out = plan["left_out_count"]
        self._result |= {"login": plan["login"], "key": plan["key"], "left_out_count": left_out}
        if not (plan["login"] or plan["key"]):
            self._output.note(
                f"No login of {self._name} was found: if the hive has no key for all agents, log "
                f"it in with `hivectl login {self._name}`."
            )
        return status

    def _store(self, key: str) -> None:
        """Store an API key for the gateway, unless there is one for the agent already."""
        from hivectl.host import credentials

        place = credentials.Places.of_host().of(self._name)
        if place.files:
            self._output.note(
                f"{place.words.capitalize()} is stored already, and stays: the API key of the old "
                "container was not taken over."
            )
        else:
            credentials.store(place, key, credentials.encrypter())

    async def _spawn(self, base: int) -> None:
        from wire.records.lifecycle import SpawnOptions

        try:
            await self._job(
                lambda: self._hive.lifecycle.spawn(self._name, SpawnOptions()), "spawning"
            )
        except CommandError:
            # The job has ended. After a timeout, another error, the agent may still come and work.
            await self._remove_rest()
            raise
        if (await self._hive.agents.get(self._name)).uid_base != base:
            # Another agent has got the range meanwhile; a rebuild corrects the owners.
            await self._job(
                lambda: self._hive.agents.call(self._name, lambda agent: agent.rebuild()),
                "rebuilding",
            )

    async def _remove_rest(self) -> None:
        """Remove the files that a failed spawn keeps, so that the import can be repeated."""
        from wire.errors import HiveError

        # The failure of the spawn is the one to show. The next import names what is left.
        with contextlib.suppress(CommandError, HiveError):
            if await self._has_tombstone():
                await self._job(lambda: self._hive.lifecycle.purge_tombstone(self._name), "purging")

    async def _has_tombstone(self) -> bool:
        tombstones = await self._hive.lifecycle.list_tombstones()
        return any(tombstone.name == self._name for tombstone in tombstones)

    async def _job(self, start: "Callable[[], Awaitable[str]]", doing: str) -> None:
        async with self._hive.jobs.watch() as ended:
            path = await start()
            self._output.progress(f"{doing} {self._name} …")
            await job_done(ended, path, lambda: None, JOB_SECONDS)

    async def _finish(self, status: dict[str, Any]) -> None:
        """Import the history, and note that the import has ended.

        It ends without the history if that is refused: another attempt would be refused, too.
        """
        from wire.errors import Conflict, InvalidArgument, LimitExceeded

        references: list[str] = []
        lines = [f"{self._name} is imported and runs"]
        if status["history"]:
            try:
                references = await self._import_history()
            except (Conflict, InvalidArgument, LimitExceeded) as error:
                self._result["history_refused"] = str(error)
                lines += [
                    f"  its history was not imported: {safe(str(error))}",
                    "  to import it later, correct the repository, or a copy of it, and run "
                    f"`hivectl import-nixos {self._name} --history DIR`",
                ]
        await self._tool.run("finish")
        lines += self._tag_lines(references)
        self._output.show({**self._result, "imported": True, "history": references}, lines)

    async def _import_history(self) -> list[str]:
        self._output.progress(f"importing the history of {self._name} …")
        return await self._hive.approvals.within(JOB_SECONDS).import_history(self._name)

    def _tag_lines(self, references: list[str]) -> list[str]:
        if not references:
            return []
        return [
            f"  its history has {len(references)} branches and tags: runuser -u hive-approvals "
            f"-- git -C /var/lib/hyperhive/git/applied/{self._name} tag --list 'imported/*'"
        ]


def _bytes(plan: dict[str, Any]) -> int:
    return sum(part["bytes"] for part in plan["parts"])


def _lines(plan: dict[str, Any], output: Output) -> list[str]:
    """Return the lines of a plan for people."""
    container = plan["container"]
    state = "runs, and is stopped first" if plan["running"] else "does not run"
    rows: list[Row] = [
        [
            part["name"],
            Cell(str(part["entries"]), right=True),
            Cell(size(part["bytes"]), right=True),
            literal(part["source"]),
        ]
        for part in plan["parts"]
    ]
    if plan["login"]:
        login = "an account (do not start the old container again: it has the same login)"
    else:
        login = "an API key, which the gateway gets" if plan["key"] else "none found"
    lines = [
        f"{plan['agent']} from the container {container}, which {state}",
        *output.table(["PART", "ENTRIES", "SIZE", "FROM"], rows),
        f"login: {login}",
        f"history: {literal(plan['history'] or 'none found; give it with --history')}",
    ]
    if count := plan["left_out_count"]:
        lines.append(f"left out: {count}")
        lines += [f"  {literal(line)}" for line in plan["left_out"]]
        lines += ["  …"] if count > len(plan["left_out"]) else []
    lines += [
        f"not taken over: {literal(one['target'])}, from {literal(one['source'])}"
        for one in plan["unused"]
    ]
    return lines


COMMANDS = [import_nixos]
