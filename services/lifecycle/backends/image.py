"""Where a container's /usr comes from: the host, or a tree that the operator has made."""

import stat
import sys
from pathlib import Path
from typing import Final

from wire.errors import Conflict

HOST: Final = Path("/")
"""The image of an agent that has none of its own."""

SHARED: Final = (
    "/usr",
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/crypto-policies",
    "/etc/pam.d",
    "/etc/pki/ca-trust",
    "/etc/pki/tls/certs",
    # Not all of /etc/ssl: it has a directory for private keys.
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
)
"""What of it a container sees, read-only, where it has it. Nothing else of /etc."""

USR_LINKS: Final = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
"""Links into /usr, of which a container gets those that the image has."""

PYTHON: Final = f"usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
"""Whose packages those of Hyperhive are."""

# Without socat Claude Code works, and has none of the hive's tools.
NEEDED: Final = ("usr/lib/systemd/systemd", PYTHON, "usr/bin/socat")
"""Files without which a container is none."""


def shared(image: Path, prefix: Path, packages: Path | None) -> list[str]:
    """The lines of the .nspawn file that show all this.

    `prefix`: where Hyperhive is. It is a part of the host's /usr already, but may be a mount of its
    own there, which no overlay shows. `packages`: what lies over the host's /usr, if anything does.
    """
    found = [path for path in SHARED if (image / path.lstrip("/")).exists()]
    if image != HOST:
        return [f"BindReadOnly={image}{path}:{path}" for path in found] + [f"BindReadOnly={prefix}"]
    if packages is None:
        return [f"BindReadOnly={path}" for path in found]
    binds = [f"BindReadOnly={path}" for path in (*found, prefix) if path != "/usr"]
    return [f"OverlayReadOnly=/usr:{packages}:/usr", *binds]


def usr_links(image: Path) -> list[str]:
    """The names in / that are links into /usr."""
    return [name for name in USR_LINKS if (image / name).is_symlink()]


def check(name: str, image: Path, prefix: Path, packages: Path | None, root: Path = HOST) -> None:
    """See that the agent `name` can be run from `image`. Raises Conflict that says why not.

    `packages`: as for `shared`. `root`: above which nothing is looked at; differs from / only in
    tests.
    """
    if image == HOST:
        return
    fault = _untrusted(image, root) or _incomplete(image, prefix)
    if packages and not fault:
        fault = "packages of agent.toml fit the host's own /usr only"
    if fault:
        raise Conflict(f"{name} cannot be run from the image {image}: {fault}.")


def _untrusted(image: Path, root: Path) -> str:
    """Why somebody who is not root could change what the containers run; empty if nobody can."""
    above = [path for path in reversed(image.parents) if path.is_relative_to(root)]
    for path in (*above, image, image / "usr"):
        try:
            found = path.lstat()
        except OSError:
            return f"{path} is not there, or hidden from hive-lifecycle like /home, /root and /tmp"
        if not stat.S_ISDIR(found.st_mode):
            return f"{path} is no directory"
        if found.st_uid != 0 or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return f"not only root may write to {path}"
    return ""


def _incomplete(image: Path, prefix: Path) -> str:
    """What is missing in it; empty if nothing is."""
    for file in NEEDED:
        if not (image / file).is_file():
            return f"it has no {file}"
    mount_point = str(prefix).lstrip("/")
    if not (image / mount_point).is_dir():
        return f"it has no directory {mount_point}, where Hyperhive itself is shown"
    return ""
