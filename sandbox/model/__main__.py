"""The server of the scripted model: `python -m sandbox.model --port 7100 --scenario FILE ...`."""

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path
from typing import Final

import sdnotify
from aiohttp import web

from sandbox.model import scenario
from sandbox.model.script import Script
from sandbox.model.server import application

DEFAULT: Final = (
    Path(__file__).with_name("scenarios"),
    Path(__file__).with_name("demo.toml"),
)
EX_CONFIG: Final = 78


def main() -> int:
    """Serve until SIGTERM or SIGINT; return the exit status, 78 for an invalid scenario."""
    arguments = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        script = Script(scenario.load(*(arguments.scenario or DEFAULT)))
    except scenario.ScenarioError as exc:
        print(exc, file=sys.stderr)
        return EX_CONFIG
    if arguments.check:
        return 0
    try:
        asyncio.run(_serve(script, arguments.host, arguments.port))
    except OSError as exc:
        print(f"cannot listen on {arguments.host}:{arguments.port}: {exc}", file=sys.stderr)
        return 1
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox.model", description="A scripted Anthropic Messages API server."
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="the address to listen on (default: 127.0.0.1)"
    )
    parser.add_argument(
        "--port",
        type=int,
        default=7100,
        help="the port to listen on; 0 for any free one, which is printed (default: 7100)",
    )
    parser.add_argument(
        "--scenario",
        type=Path,
        action="append",
        metavar="FILE",
        help="a TOML file with rules, or a directory of such files; rules are tried in the given "
        "order (default: scenarios, then demo.toml)",
    )
    parser.add_argument("--check", action="store_true", help="only check the scenario files")
    return parser.parse_args()


async def _serve(script: Script, host: str, port: int) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    runner = web.AppRunner(
        application(script), access_log=None, shutdown_timeout=1, handler_cancellation=True
    )
    await runner.setup()
    notifier = sdnotify.SystemdNotifier()
    try:
        await web.TCPSite(runner, host, port).start()
        logging.getLogger(__name__).info("the scripted model listens on %s", runner.addresses[0])
        notifier.notify(f"READY=1\nSTATUS=listening on {runner.addresses[0]}")
        await stop.wait()
        notifier.notify("STOPPING=1")
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    sys.exit(main())
