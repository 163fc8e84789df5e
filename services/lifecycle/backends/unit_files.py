"""The text of the two files that make systemd run a container: settings and drop-in."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.lifecycle.agents import resources
from services.lifecycle.agents.agent import Spec
from services.lifecycle.agents.uid_ranges import SIZE
from wire import names
from wire.records.lifecycle import Network, Resources

DROP_IN: Final = "50-hyperhive.conf"
CREDENTIAL: Final = "anthropic_api_key"

DROPPED: Final = (
    "CAP_AUDIT_CONTROL",
    "CAP_AUDIT_WRITE",
    "CAP_LEASE",
    "CAP_MKNOD",
    "CAP_NET_BROADCAST",
    "CAP_NET_RAW",
    "CAP_SYS_NICE",
    "CAP_SYS_TTY_CONFIG",
)
"""What nspawn leaves a container and this one has no use for. What stays counts in its user
namespace only; its systemd needs CAP_SYS_ADMIN there for mounts and cgroups."""

PATHS_OF_ROOT: Final = ("dev", "etc", "proc", "run", "sys", "tmp", "var")
"""What nspawn, as root of the host, reaches by path in the container's root before it is locked in.
The agent may put links there and crash: then systemd, which starts it again, is not to let nspawn
follow them. A start by lifecycle puts them right."""

UNREGISTER: Final = (
    """-/bin/sh -c 'test "$$EXIT_CODE" = exited || exec busctl --quiet call """
    "org.freedesktop.machine1 /org/freedesktop/machine1 "
    "org.freedesktop.machine1.Manager UnregisterMachine s %i'"
)
"""Has machined forget the machine of a systemd-nspawn that was killed; one that exits does it."""


@dataclass(frozen=True)
class Limits:
    """How long things may take, whom a container may talk to, and what it may use."""

    start_seconds: int
    stop_seconds: int
    network: Network
    resources: Resources


def settings(spec: Spec, shared: Iterable[str], data: str, sockets: str, git: str) -> str:
    """The .nspawn file.

    `shared`: the lines about what it shares with the host. `data`, `sockets`: of this agent. `git`:
    the folder of all configurations, of which the manager alone sees something.
    """
    repositories = (
        f"Bind={git}/proposed:/agents",
        f"BindReadOnly={git}/applied:/applied",
        f"BindReadOnly={git}/meta:/meta",
    )
    lines = [
        "# Written by hive-lifecycle; changed by hand it is overwritten at the next start.",
        "[Exec]",
        "Boot=yes",
        "Parameters=systemd.unit=hive-container.target",
        f"Hostname={spec.name}",
        f"PrivateUsers={spec.uid_base}:{SIZE}",
        "NotifyReady=yes",
        "NoNewPrivileges=yes",
        f"DropCapability={' '.join(DROPPED)}",
        "ResolvConf=copy-host",
        # To link it, root of the host would follow what the agent made of /var/log/journal.
        "LinkJournal=no",
        # A core of the agent's would be kept, and taken apart, by the host.
        "LimitCORE=0",
        "",
        "[Files]",
        # Lifecycle gives the files to the range itself: nspawn would walk the whole tree.
        "PrivateUsersOwnership=off",
        *shared,
        # Connecting needs no more. The folder lies on the /run of the host, which must not fill up.
        f"BindReadOnly={sockets}:/run/hive",
        f"Bind={data}/claude:/root/.claude",
        f"Bind={data}/state:/state",
        *(repositories if spec.is_manager else ()),
        "",
        "[Network]",
        "VirtualEthernet=no",
        "",
    ]
    return "\n".join(lines)


def drop_in(
    spec: Spec, limits: Limits, root: str, credential: str | None, packages: Path | None
) -> str:
    """The drop-in of the container's unit.

    `root`: of the container, on the host. `credential`: the file of the API key, if any.
    `packages`: builds/NAME/COMMIT/usr, if it lies over /usr.
    """
    # Whoever builds could put a link there later, and nspawn would follow it.
    built = (packages, packages.parent, packages.parent.parent) if packages else ()
    socket, endpoint = names.socket_unit(spec.name), names.endpoint_unit(spec.name)
    command = "systemd-nspawn --quiet --keep-unit --boot --settings=override --machine=%i"
    if credential:
        command += f" --load-credential={CREDENTIAL}:{credential}"
    lines = [
        "# Written by hive-lifecycle; changed by hand it is overwritten at the next start.",
        "[Unit]",
        f"Description=Hyperhive: the container of {spec.name}",
        f"Requires={socket}",
        # What stops the container stops its endpoint, afterwards: the harness gives back through
        # it what it holds.
        f"PropagatesStopTo={endpoint}",
        f"After={socket} {endpoint}",
        # Five crashes in a minute are no accident any more.
        "StartLimitIntervalSec=60",
        "StartLimitBurst=5",
        *(f"AssertPathIsSymbolicLink=!{root}/{name}" for name in PATHS_OF_ROOT),
        *(f"AssertPathIsSymbolicLink=!{path}" for path in built),
        "",
        "[Service]",
        "Slice=hive-agents.slice",
        # When the memory is gone agents end before the host's services. Inside nobody can lower it.
        # (Not in the settings: nspawn sets those too late, when it may not any more.)
        "OOMScoreAdjust=300",
        # nspawn looks for the container's systemd before /usr is there, takes it for an old one,
        # and gives it the old hierarchies, where the harness has no group for a turn's commands.
        "Environment=SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1",
        "ExecStart=",
        f"ExecStart={command}",
        # A systemd-nspawn that is killed leaves its machine registered, and machined keeps it while
        # systemd is about to start the unit again: that start, and all after it, would fail.
        f"ExecStopPost={UNREGISTER}",
        "Restart=on-failure",
        # Long enough to read the cause of the end before the next start overwrites it.
        "RestartSec=500ms",
        # Of systemd-nspawn itself, which does not say that it lives while the agent is paused.
        "WatchdogSec=0",
        f"TimeoutStartSec={limits.start_seconds}",
        f"TimeoutStopSec={limits.stop_seconds}",
        # What it writes to its console becomes lines of the host's journal: not with a priority
        # of its choice (an emergency goes to all terminals), and not so many that others are lost.
        "SyslogLevelPrefix=no",
        "LogRateLimitIntervalSec=30s",
        "LogRateLimitBurst=1000",
        *resources.lines(limits.resources),
        # No loop devices, no device mapper, no tun: only terminals.
        "DeviceAllow=",
        "DeviceAllow=char-pts rw",
    ]
    network = limits.network
    if network.deny:
        lines += [f"IPAddressDeny={' '.join(network.deny)}"]
        lines += [f"IPAddressAllow={' '.join(network.allow)}"] if network.allow else []
    return "\n".join([*lines, ""])
