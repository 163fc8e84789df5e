"""Links that keep the garbage collector of Nix from the systems of containers.

A container runs from its system, and systemd starts it again from the system that its settings
name, after a crash. Meanwhile its build may have another system, or may be removed. So each agent
has a directory of links, to which the settings add one, and from which only a start removes.
"""

import logging
import os

from services.lifecycle.backends.layout import Layout
from services.lifecycle.files.nofollow import Directory, remove_below

log = logging.getLogger(__name__)


def hold(layout: Layout, name: str, system: str, *, alone: bool = False) -> None:
    """Keep `system` for the container of `name`, besides others that it may still run from.

    An error is logged: a container may do without, until somebody collects garbage.

    Args:
        layout: the paths on the host.
        name: the agent.
        system: a path in the store.
        alone: keep no others: the container does not run.
    """
    if not layout.gc_roots.is_dir():
        return
    kept = system.rpartition("/")[2]
    try:
        with Directory.open(layout.gc_roots) as roots, roots.directory(name) as own:
            own.link(kept, system)
            for link in os.listdir(own.fileno()) if alone else ():  # noqa: PTH208 - by descriptor
                if link != kept:
                    own.remove(link)
    except OSError as error:
        log.error(
            "the garbage collector of Nix may remove the system of %s: %s",
            name,
            error,
            extra={"HIVE_AGENT": name},
        )


async def release(layout: Layout, name: str) -> None:
    """Keep nothing for the container of `name`, which is removed."""
    if layout.gc_roots.is_dir():
        await remove_below(layout.gc_roots, name)
