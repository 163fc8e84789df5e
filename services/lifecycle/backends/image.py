"""The source of a container's /usr: the host, or a tree that the operator has made."""

import stat
import sys
from pathlib import Path
from typing import Final

from wire.errors import Conflict

HOST: Final = Path("/")
"""The image of an agent without an image of its own."""

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
"""The paths of the image that a container sees, read-only, if they exist."""

USR_LINKS: Final = ("bin", "sbin", "lib", "lib64")
"""Possible links into /usr. A container gets the ones that the image has."""

MORE_LINKS: Final = ("lib32", "libx32")
"""Rare links into /usr, which nspawn does not make. Their targets are mounted instead."""

PYTHON: Final = f"usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
"""The Python that Hyperhive's packages are installed for."""

# Without socat Claude Code works, but without the tools of the hive.
NEEDED: Final = (
    "usr/lib/systemd/systemd",
    # The way from the proxy's address in the container to the gateway.
    "usr/lib/systemd/systemd-socket-proxyd",
    "usr/bin/setpriv",
    PYTHON,
    "usr/bin/socat",
)
"""The files that every container needs."""


MAX_EXTRA_SERVERS: Final = 256 * 1024
"""Characters of the file with extra MCP servers; more is not valid JSON then."""


def shared(image: Path, prefix: Path, packages: Path | None) -> list[str]:
    """Return the lines of the .nspawn file that mount the image.

    Args:
        image: the source of /usr.
        prefix: the directory in which Hyperhive is installed. It lies in the host's /usr, but may
            be a separate mount there, which an overlay does not show.
        packages: the tree that is laid over the host's /usr, if any.
    """
    found = [path for path in SHARED if (image / path.lstrip("/")).exists()]
    links = [name for name in MORE_LINKS if (image / name).is_symlink()]
    more = [f"BindReadOnly={image / 'usr' / name}:/{name}" for name in links]
    if image != HOST:
        binds = [f"BindReadOnly={image}{path}:{path}" for path in found]
        return [*binds, f"BindReadOnly={prefix}", *more]
    if packages is None:
        return [*(f"BindReadOnly={path}" for path in found), *more]
    binds = [f"BindReadOnly={path}" for path in (*found, prefix) if path != "/usr"]
    return [f"OverlayReadOnly=/usr:{packages}:/usr", *binds, *more]


def usr_links(image: Path) -> list[str]:
    """Return the names in / that are links into /usr."""
    return [name for name in USR_LINKS if (image / name).is_symlink()]


def mount_points(image: Path) -> list[tuple[str, bool]]:
    """Return the shared paths below /etc, and whether each is a directory."""
    found = [(path, image / path.lstrip("/")) for path in SHARED if path.startswith("/etc/")]
    return [(path, there.is_dir()) for path, there in found if there.exists()]


def generators(image: Path) -> list[str]:
    """Return the names of the generators of units (systemd.generator(7)) in the image."""
    return sorted(path.name for path in (image / "usr/lib/systemd/system-generators").glob("*"))


def loaders(image: Path, name: str) -> list[str]:
    """Return the names of the dynamic loaders in usr/NAME of the image."""
    return sorted(path.name for path in (image / "usr" / name).glob("ld*.so.*"))


def check(name: str, image: Path, prefix: Path, packages: Path | None, root: Path = HOST) -> None:
    """Check that the agent `name` can be run from `image`.

    Args:
        name: the agent.
        image, prefix, packages: as for `shared`.
        root: nothing above this directory is checked; differs from / only in tests.

    Raises:
        Conflict: the agent cannot be run from the image; the text names the reason.
    """
    if image == HOST:
        return
    fault = _untrusted(image, root) or _incomplete(image, prefix)
    if packages and not fault:
        fault = "packages of agent.toml fit the host's own /usr only"
    if fault:
        raise Conflict(f"{name} cannot run from the image {image}: {fault}.")


def _untrusted(image: Path, root: Path) -> str:
    """Return how users other than root could change the image; empty if they cannot."""
    above = [path for path in reversed(image.parents) if path.is_relative_to(root)]
    for path in (*above, image, image / "usr"):
        try:
            found = path.lstat()
        except OSError:
            return f"{path} is missing, or hidden from hive-lifecycle like /home, /root and /tmp"
        if not stat.S_ISDIR(found.st_mode):
            return f"{path} is not a directory"
        if found.st_uid != 0 or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return f"users other than root may write to {path}"
    return ""


def _incomplete(image: Path, prefix: Path) -> str:
    """Return what the image lacks; empty if it lacks nothing."""
    for file in NEEDED:
        if not (image / file).is_file():
            return f"it has no {file}"
    mount_point = str(prefix).lstrip("/")
    if not (image / mount_point).is_dir():
        return f"it has no directory {mount_point}, the mount point of Hyperhive itself"
    return ""


def extra_servers(image: Path) -> str:
    """Return etc/hyperhive/extra-mcp.json of the image; empty if it has none.

    The image belongs to the host. The harness checks the text, and says what is wrong with it.
    """
    path = image / "etc/hyperhive/extra-mcp.json"
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(MAX_EXTRA_SERVERS)
    except OSError:
        return ""
