"""The directories that hold an agent's own files, all below one directory of the agent.

The agent's directory belongs to root, and the ones in it to the agent: it can put no link in the
place of one of them. systemd-nspawn opens them by path, as root of the host.
"""

from dataclasses import dataclass
from typing import Final

from services.lifecycle.files.nofollow import Directory

CLAUDE: Final = "/run/hive-claude"
"""The place where nspawn mounts claude/. It must not mount it at /root/.claude: /root is the
agent's, which could put a link there. hive-mounts.service in the container mounts it there."""


WEB: Final = "/run/hive-web"
"""The place of the directory with the harness's socket, which is not one of the parts below."""

ETC: Final = "etc"
"""The directory with the container's /etc, which belongs to root."""


@dataclass(frozen=True)
class WritableDirectory:
    """A directory that an agent may write to, and that its container sees.

    Attributes:
        name: The name of the directory on the host.
        path: The path in the container.
        mode: The mode of a new directory.
        survives: Whether `destroy` without `--purge` leaves it.
    """

    name: str
    path: str
    mode: int = 0o755
    survives: bool = False


WRITABLE: Final = (
    WritableDirectory("claude", CLAUDE, mode=0o700, survives=True),
    WritableDirectory("state", "/state", mode=0o700, survives=True),
    WritableDirectory("work", "/work", survives=True),
    WritableDirectory("root", "/root", mode=0o700),
    WritableDirectory("home", "/home"),
    WritableDirectory("opt", "/opt"),
    WritableDirectory("srv", "/srv"),
    WritableDirectory("var", "/var"),
)
"""All parts. Everything else that a container can write lies in memory and ends with it."""


def make(data: Directory, owner: int) -> None:
    """Create or correct the parts.

    Args:
        data: the directory of the agent.
        owner: the first uid of the agent's range.
    """
    for part in WRITABLE:
        data.make(part.name, mode=part.mode, owner=owner)
    with data.directory("root", mode=0o700, owner=owner) as home:
        home.make(".claude", mode=0o700)  # the mount point of hive-mounts.service
    with data.directory("var", owner=owner) as var:
        var.link("run", "../run")
        with var.directory("log") as log:
            log.ensure("journal")  # the container's systemd chooses the mode
