"""Puts the parts together."""

import asyncio
import logging

from harness import options
from harness.claude import Claude
from harness.config import Config, Paths
from harness.group import Group
from harness.hive_client import HiveClient
from harness.loop import TurnLoop
from harness.notify import Notifier
from harness.proposed import Proposed
from harness.record import Record
from harness.rpc import Socket

log = logging.getLogger(__name__)


async def serve(config: Config, paths: Paths, notifier: Notifier, socket: Socket) -> None:
    """Runs turns until it is cancelled; then the turn is aborted and its messages released."""
    endpoint = HiveClient(paths.socket, socket)
    record = Record(paths.state)
    group = Group.make(paths.groups)
    make = options.maker(config, paths, group, lambda line: log.info("claude: %s", line))
    claude = Claude(make, options.memory(paths.state), group)
    loop = TurnLoop(config, paths, endpoint, claude, record, notifier)
    connection = asyncio.create_task(endpoint.run(), name="endpoint")
    turns = asyncio.create_task(loop.run(), name="turns")
    tasks = [turns, connection]
    if config.manager:
        tasks.append(asyncio.create_task(Proposed().run(), name="proposed"))
    try:
        await asyncio.wait({connection, turns}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        # The turns end first: they give back what they hold through the connection.
        for task in tasks:
            task.cancel()
            await asyncio.wait({task})
        record.close()
    for task in tasks:  # but for a mistake of ours, the first two do not end by themselves
        if not task.cancelled():
            task.result()
