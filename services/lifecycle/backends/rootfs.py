"""The root file system of a container: a few KiB of files around a /usr from elsewhere."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from services.lifecycle.agents.agent import Spec
from services.lifecycle.files.nofollow import Directory

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
\tdirectory = *
"""
"""For the manager: /applied and /meta belong to approvals on the host, not to its own root."""

JOURNAL: Final = """\
[Journal]
SystemMaxUse=64M
RuntimeMaxUse=16M
"""
"""The container's own journal may not take a large part of its disk, or of the host's."""

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


def write(
    root: Directory,
    spec: Spec,
    harness: Mapping[str, object],
    units: Path,
    usr_links: Iterable[str],
) -> None:
    """Write the files of the container into `root`, which belongs to its uid range.

    Changes by the container to these files are reverted; its other files stay.

    Args:
        root: the root of the container.
        spec: the container.
        harness: the content of harness.json.
        units: the directory with the unit files of the container's own systemd.
        usr_links: the names in / that are links into /usr.
    """
    for name in ("dev", "proc", "run", "srv", "state", "sys", "tmp", "usr"):
        root.make(name)
    for name in ("agents", "applied", "meta") if spec.is_manager else ():
        root.make(name)
    with root.directory("root", mode=0o700) as home:
        home.make(".claude", mode=0o700)
    with root.directory("var") as var:
        var.link("run", "../run")
        with var.directory("log") as log:
            log.ensure("journal")  # the container's systemd chooses the mode
    for name in usr_links:
        root.link(name, f"usr/{name}")
    with root.directory("etc") as etc:
        _write_etc(etc, spec, harness, units)


def _write_etc(etc: Directory, spec: Spec, harness: Mapping[str, object], units: Path) -> None:
    etc.write("os-release", OS_RELEASE)
    etc.write("passwd", ACCOUNTS)
    etc.write("group", GROUP)
    etc.write("shadow", SHADOW, mode=0o600)
    etc.write("nsswitch.conf", NSSWITCH)
    etc.write("hostname", f"{spec.name}\n")
    etc.write("hosts", HOSTS.format(name=spec.name))
    etc.write("gitconfig", GITCONFIG.format(name=spec.name) + (TRUSTING if spec.is_manager else ""))
    # The host's own id would keep the journal from being linked; the agent need not know it.
    etc.write("machine-id", f"{spec.machine_id}\n")
    with etc.directory("hyperhive") as hyperhive:
        hyperhive.write("harness.json", json.dumps(harness, indent=2) + "\n")
    # Without these two, pam_env and pam_limits refuse the session of `machinectl shell`.
    with etc.directory("security") as security:
        security.write("limits.conf", "")
        security.write("pam_env.conf", "")
    with etc.directory("systemd") as systemd, systemd.directory("journald.conf.d") as journald:
        journald.write("hyperhive.conf", JOURNAL)
    with etc.directory("systemd") as systemd, systemd.directory("system") as system:
        for name in MASKED:
            system.link(name, "/dev/null")
        for unit in sorted(units.iterdir()) if units.is_dir() else ():
            if unit.is_file():
                system.write(unit.name, unit.read_text())
