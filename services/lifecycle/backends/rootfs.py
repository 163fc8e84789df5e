"""A container's /etc, and the template of its /.

Both belong to root. nspawn makes / anew in memory at each start (`Volatile=yes`) and mounts /etc
read-only: root of the host never opens a path that an agent can change.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from services.lifecycle.agents.agent import Spec
from services.lifecycle.backends import container_network, image
from services.lifecycle.backends.projects import path_inside
from services.lifecycle.files.nofollow import Directory
from services.lifecycle.host import settings

OS_RELEASE: Final = """\
NAME="Hyperhive agent"
PRETTY_NAME="Hyperhive agent"
ID=hyperhive
ANSI_COLOR="1;33"
"""
ACCOUNTS: Final = """\
root:x:0:0:root:/root:/bin/bash
messagebus:x:81:81:D-Bus:/:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/:/usr/sbin/nologin
"""
GROUP: Final = """\
root:x:0:
adm:x:4:
tty:x:5:
utmp:x:22:
messagebus:x:81:
systemd-journal:x:190:
nogroup:x:65534:
"""
# No password is in here, and root in the container must be able to read the file, which belongs to
# root of the host.
SHADOW: Final = """\
root:!*:::::::
messagebus:!*:::::::
nobody:!*:::::::
"""
NSSWITCH: Final = """\
passwd: files
group: files
shadow: files
hosts: files dns
"""
HOSTS: Final = """\
127.0.0.1 localhost {name}
::1 localhost {name}
"""

GITCONFIG: Final = """\
[user]
\tname = {name}
\temail = {name}@hive.invalid
[init]
\tdefaultBranch = main
"""
TRUSTING: Final = """\
[safe]
\tdirectory = {path}
"""
"""For a repository that belongs to a user of the host, and not to the container's own root."""
ALL: Final = "*"
"""For the manager: /applied and /meta belong to approvals."""

JOURNAL: Final = """\
[Journal]
SystemMaxUse=64M
RuntimeMaxUse=16M
"""
"""The container's own journal may not take a large part of its disk, or of the host's."""

UNITS: Final = "share/hyperhive/container"
"""The directory with the unit files of containers, below that in which Hyperhive is installed."""

MASKED: Final = (
    # It would create the host's accounts, and fails at the second boot: passwd is rewritten then.
    "systemd-sysusers.service",
    # Nobody logs in, and nspawn has mounted and created everything already.
    "systemd-ask-password-console.path",
    "systemd-initctl.socket",
    "systemd-remount-fs.service",
    "systemd-tmpfiles-setup-dev-early.service",
    "systemd-tmpfiles-setup-dev.service",
    "systemd-update-utmp.service",
)
"""Units of the host's systemd that are useless in a container and delay its start."""


def write_template(root: Directory, source: Path) -> None:
    """Write the files from which nspawn makes / at each start.

    nspawn wants to see an os-release. It creates the links from / into /usr, such as /bin and
    /lib64, for the directories that the /usr of the template has; it also looks for the dynamic
    loader there. The real /usr is mounted over this one.

    Args:
        root: the directory of the template, which belongs to root.
        source: the tree that the container's /usr comes from.
    """
    with root.directory("etc") as etc:
        etc.write("os-release", OS_RELEASE)
    with root.directory("usr") as usr:
        for name in image.usr_links(source):
            with usr.directory(name) as folder:
                for loader in image.loaders(source, name):
                    folder.write(loader, "")


def write_etc(
    etc: Directory,
    spec: Spec,
    harness: Mapping[str, object],
    ports: Iterable[int],
    prefix: Path,
    source: Path,
    host: Path,
    projects: Iterable[str],
) -> None:
    """Write the container's /etc.

    Args:
        etc: the directory, which belongs to root.
        spec: the container.
        harness: the content of harness.json.
        ports: the ports of the container's loopback that the operator may reach.
        prefix: the directory in which Hyperhive is installed, with the unit files of the
            container's own systemd.
        source: the tree that the container's /usr comes from.
        host: the root directory of the host; differs from / only in tests.
        projects: the projects of the agent.
    """
    etc.write("os-release", OS_RELEASE)
    etc.write("passwd", ACCOUNTS)
    etc.write("group", GROUP)
    etc.write("shadow", SHADOW)
    etc.write("nsswitch.conf", NSSWITCH)
    etc.link("mtab", "../proc/self/mounts")
    etc.write("hostname", f"{spec.name}\n")
    etc.write("hosts", HOSTS.format(name=spec.name))
    etc.write("gitconfig", gitconfig(spec, projects))
    # The host's own id would keep the journal from being linked; the agent need not know it.
    etc.write("machine-id", f"{spec.machine_id}\n")
    write_harness(etc, harness)
    with etc.directory("hyperhive") as hyperhive:
        if extra := image.extra_servers(source if source != image.HOST else host):
            hyperhive.write("extra-mcp.json", extra)
        else:
            hyperhive.remove("extra-mcp.json")
    # Without these two, pam_env and pam_limits refuse the session of `machinectl shell`.
    with etc.directory("security") as security:
        security.write("limits.conf", "")
        security.write("pam_env.conf", "")
    with etc.directory("systemd") as systemd, systemd.directory("journald.conf.d") as journald:
        journald.write("hyperhive.conf", JOURNAL)
    # They make units for the disks, consoles and old scripts of a whole host. To run them takes a
    # sixth of the time in which a container starts.
    with etc.directory("systemd") as systemd, systemd.directory("system-generators") as masked:
        for name in image.generators(source):
            masked.link(name, "/dev/null")
    with etc.directory("systemd") as systemd, systemd.directory("system") as system:
        for name in MASKED:
            system.link(name, "/dev/null")
        units = prefix / UNITS
        for unit in sorted(units.iterdir()) if units.is_dir() else ():
            if unit.is_file():
                system.write(unit.name, unit.read_text())
    names = settings.resolv_conf(host)
    container_network.write(etc, spec, ports, names, str(prefix))
    _follow_host(etc, host)
    for path, is_directory in image.mount_points(source):
        _make_mount_point(etc, path.split("/")[2:], is_directory)


def gitconfig(spec: Spec, projects: Iterable[str]) -> str:
    """Return the container's configuration of git; it trusts the repositories of `projects`."""
    network = container_network.gitconfig(spec.network)
    trusted = [ALL] if spec.is_manager else [path_inside(project) for project in projects]
    trusting = "".join(TRUSTING.format(path=path) for path in trusted)
    return GITCONFIG.format(name=spec.name) + network + trusting


def write_harness(etc: Directory, harness: Mapping[str, object]) -> None:
    """Write harness.json, for a harness that starts later."""
    with etc.directory("hyperhive") as hyperhive:
        hyperhive.write("harness.json", json.dumps(harness, indent=2) + "\n")


def _follow_host(etc: Directory, host: Path) -> None:
    if zone := settings.time_zone(host):
        etc.link("localtime", f"../usr/share/zoneinfo/{zone}")
    else:
        etc.remove("localtime")


def _make_mount_point(folder: Directory, parts: Sequence[str], is_directory: bool) -> None:
    """Make a mount point, which nspawn cannot: /etc is mounted read-only."""
    if len(parts) > 1:
        with folder.directory(parts[0]) as inner:
            _make_mount_point(inner, parts[1:], is_directory)
    elif is_directory:
        folder.make(parts[0])
    else:
        folder.write(parts[0], "")
