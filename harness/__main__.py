"""`python -m harness`: connects, tells systemd, then runs turns."""

import asyncio
import logging
import signal
import sys
from typing import Final

from harness import config
from harness.app import serve
from harness.backoff import Backoff
from harness.notify import Notifier
from harness.rpc import Socket
from harness.watch import wait_for_change

log = logging.getLogger("harness")

EX_CONFIG: Final = 78


def main() -> int:
    """Runs until SIGTERM; answers the exit status, 78 for a bad configuration."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    logging.getLogger("claude_agent_sdk").setLevel(logging.WARNING)
    notifier, paths = Notifier(), config.Paths.from_environment()
    try:
        settings = config.load(paths.config)
    except config.ConfigError as exc:
        notifier.status(str(exc))
        log.error("%s", exc)
        return EX_CONFIG
    return asyncio.run(_run(settings, paths, notifier))


async def _run(settings: config.Config, paths: config.Paths, notifier: Notifier) -> int:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    tasks = {
        asyncio.create_task(_serve(settings, paths, notifier), name="serve"),
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


async def _serve(settings: config.Config, paths: config.Paths, notifier: Notifier) -> None:
    socket = await _connect(paths)
    # The connection is up: what is sent from now on reaches this process.
    notifier.ready()
    await serve(settings, paths, notifier, socket)


async def _connect(paths: config.Paths) -> Socket:
    backoff = Backoff(0.05, 5.0)
    while True:
        try:
            return await asyncio.open_unix_connection(str(paths.socket))
        except OSError as exc:
            log.warning("%s: %s", paths.socket, exc.strerror or exc)
            await wait_for_change(paths.socket.parent, backoff.failed())


if __name__ == "__main__":
    sys.exit(main())
