"""`python -m harness`: connects to the hive, notifies systemd, then runs turns."""

import asyncio
import logging
import signal
import sys
from typing import TYPE_CHECKING, Final

from harness import config, extra_mcp
from harness.backoff import Backoff
from harness.claude import cgroup, options, rebuild
from harness.claude.cgroup import Cgroup
from harness.claude.choices import Choices
from harness.claude.permissions import Permissions
from harness.claude.session import ClaudeSession
from harness.config import Config, Paths
from harness.events.recorder import Recorder
from harness.events.server import WebServer
from harness.events.store import EventStore
from harness.hive_client import HiveClient
from harness.inotify import wait_for_change
from harness.jsonrpc import Socket
from harness.logins import GROUP as LOGIN_GROUP
from harness.logins import Logins
from harness.notes import Notes
from harness.notify import Notifier
from harness.projects.projects import Projects
from harness.tools.server import OwnTools
from harness.tools.todo import TodoList
from harness.turns import started
from harness.turns.inbox import Inbox
from harness.turns.loop import TurnLoop
from harness.turns.parts import Parts
from harness.turns.reporter import Reporter
from harness.working_copies import WorkingCopies

if TYPE_CHECKING:
    from harness.telemetry.telemetry import Telemetry

log = logging.getLogger("harness")

EX_CONFIG: Final = 78


def main() -> int:
    """Run until SIGTERM; return the exit status, 78 for an invalid configuration."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    logging.getLogger("claude_agent_sdk").setLevel(logging.WARNING)
    notifier, paths = Notifier(), Paths.from_environment()
    try:
        settings = config.load(paths.config)
    except config.ConfigError as exc:
        notifier.status(str(exc))
        log.error("%s", exc)
        return EX_CONFIG
    return asyncio.run(_run(settings, paths, notifier))


async def _run(settings: Config, paths: Paths, notifier: Notifier) -> int:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    tasks = {
        asyncio.create_task(_start(settings, paths, notifier), name="serve"),
        asyncio.create_task(stop.wait(), name="stop"),
    }
    watchdog = asyncio.create_task(notifier.watchdog(), name="watchdog")
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    notifier.stopping()
    for task in pending:
        task.cancel()
    if pending:
        await asyncio.wait(pending)
    watchdog.cancel()
    await asyncio.wait({watchdog})
    failed = [task for task in done | pending if not task.cancelled() and task.exception()]
    for task in failed:
        log.error("the harness failed", exc_info=task.exception())
    return 1 if failed else 0


async def _start(settings: Config, paths: Paths, notifier: Notifier) -> None:
    socket = await _connect(paths)
    # The connection is up: messages that are sent from now on reach this process.
    notifier.ready()
    await _serve(settings, paths, notifier, socket)


async def _connect(paths: Paths) -> Socket:
    backoff = Backoff(0.05, 5.0)
    while True:
        try:
            return await asyncio.open_unix_connection(str(paths.socket))
        except OSError as exc:
            log.warning("%s: %s", paths.socket, exc.strerror or exc)
            await wait_for_change(paths.socket.parent, backoff.failed())


async def _serve(settings: Config, paths: Paths, notifier: Notifier, socket: Socket) -> None:
    """Run turns until cancelled; then abort the turn and release its messages."""
    hive = HiveClient(paths.socket, socket)
    store = EventStore(paths.state)
    commands = Cgroup.create(paths.cgroups, cgroup.TURN)
    own = Cgroup.create(paths.cgroups, cgroup.CLAUDE)
    choices = Choices(paths.state)
    settings, warnings = extra_mcp.merge(settings, paths.config.with_name(extra_mcp.FILE))
    for warning in warnings:
        log.warning("%s", warning)
        store.note(warning, "warning")
    if repaired := rebuild.repair(started.parsed(settings.started), paths):
        log.warning("%s", repaired)
        store.note(repaired, "warning")
    todo = TodoList(paths.state)
    permissions = Permissions(settings, hive, store.event, options.form_seconds(settings))
    make_options = options.factory(
        settings,
        paths,
        (commands, own),
        choices,
        lambda line: log.info("claude: %s", line),
        OwnTools(settings, hive, store.turns, todo),
        permissions,
    )
    notes = Notes(paths.state, settings.notes_limit, make_options)
    session = options.session_file(paths.state)
    claude = ClaudeSession(make_options, session, commands, own, settings.start_timeout)
    logins = Logins(settings.name, Cgroup.create(paths.cgroups, LOGIN_GROUP))
    reporter = Reporter(hive, store, notifier)
    telemetry = _telemetry(settings, hive)
    projects = Projects(settings, paths, lambda text: store.note(text, "warning"))
    parts = Parts(settings, paths, hive, Inbox(hive), claude, choices, store, reporter, projects)
    loop = TurnLoop(parts, notes, todo, permissions, logins, telemetry)
    # The turns end first: they release their messages through the connection.
    calls = {"turns": loop.run(), "reports": reporter.run()}
    if telemetry:
        calls["telemetry"] = telemetry.run()
    calls["hive"] = hive.run()
    calls["record"] = Recorder(hive, store).run()
    calls["web"] = WebServer(store, paths.web, todo.shown).run()
    calls["projects"] = projects.run()
    if settings.manager:
        calls["working-copies"] = WorkingCopies().run()
    tasks = [asyncio.create_task(call, name=name) for name, call in calls.items()]
    try:
        needed = {task for task in tasks if task.get_name() in ("turns", "reports", "hive")}
        await asyncio.wait(needed, return_when=asyncio.FIRST_COMPLETED)
    finally:
        permissions.detach()
        for task in tasks:
            task.cancel()
            await asyncio.wait({task})
        store.close()
    for task in tasks:  # the needed ones end by themselves only if they have a bug
        if not task.cancelled():
            task.result()


def _telemetry(settings: Config, hive: HiveClient) -> "Telemetry | None":
    """Return what makes the spans of turns; None if the hive has no collector for them."""
    if not settings.telemetry:
        return None
    from harness.telemetry.telemetry import Telemetry

    return Telemetry(hive, settings.model or "")


if __name__ == "__main__":
    sys.exit(main())
