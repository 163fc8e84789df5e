"""The limits of a container that its root cannot lift: kernel limits, system calls, sockets.

Without them one agent could use up what the whole host shares. docs/security.md lists them.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

INIT: Final = "/usr/lib/systemd/systemd"
SCRIPT: Final = "share/hyperhive/hive-init.sh"
"""The script that sets the kernel limits, below the directory in which Hyperhive is installed."""
TARGET: Final = "systemd.unit=hive-container.target"
STATUS: Final = "systemd.show_status=error"
"""The console, whose lines are in the host's journal, has failures only: the container's own
journal has all lines of its boot, and `hivectl logs` shows both."""

NAMESPACES: Final = ("cgroup", "ipc", "mnt", "pid", "time", "uts")
"""The kinds of namespaces that systemd in the container may create, too."""
NESTED: Final = ("net", "user")
"""The kinds that only nested containers need. In a user and network namespace of its own, a program
reaches more of the kernel: netfilter, traffic control, new kinds of mounts."""

MAX_NAMESPACES: Final = 64
MAX_NESTED: Final = 256
"""The most namespaces of each kind, also of nested containers together."""

INOTIFY_INSTANCES: Final = range(32, 257)
INOTIFY_WATCHES: Final = range(1024, 65537)
"""The fewest and the most of one agent. An agent gets a sixteenth of the host's limit within these
bounds, because the kernel counts the use of all containers as a use of the host's root as well."""
SHARE: Final = 16

OPEN_FILES: Final = 65536
"""The most open files of one process."""
MESSAGE_QUEUES: Final = 409600
"""The most bytes in POSIX message queues: half of the host's default. The host's root may use
819200, and the kernel counts all containers as its use."""
PENDING_SIGNALS: Final = 4096
"""The most queued signals and POSIX timers, which the kernel counts in the same way."""
CONTROL_GROUPS: Final = 1024
ALL_CONTROL_GROUPS: Final = 32768
"""The most control groups of a container, and of all together. The kernel has 65535 with a memory
controller for the whole host."""

CAPABILITIES: Final = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_ADMIN",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_RESOURCE",
)
"""The capabilities of systemd-nspawn itself, on the host. Those of the container are others: they
apply in its user namespace."""

FAMILIES: Final = ("AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK")
"""The kinds of sockets. AF_VSOCK would reach the hypervisor, past every filter of addresses; others
load kernel modules that nobody needs."""

DENIED_GROUPS: Final = ("@clock", "@cpu-emulation", "@module", "@obsolete", "@raw-io", "@swap")
DENIED: Final = (
    # Loads programs into the kernel.
    "bpf",
    # The whole host has 128 groups for its root, containers included.
    "fanotify_init",
    # The whole host has 65536 of these contexts. Programs that use them fall back to threads.
    "io_setup:ENOSYS",
    # Makes system calls that no filter sees, such as sockets of other families.
    "io_uring_enter:ENOSYS",
    "io_uring_register:ENOSYS",
    "io_uring_setup:ENOSYS",
    "kexec_file_load",
    "kexec_load",
    # The host's keys are not divided by namespaces.
    "add_key",
    "request_key",
    "lookup_dcookie",
    "open_by_handle_at",
    "perf_event_open",
    "quotactl",
    "quotactl_fd",
    # Halts the kernel in the middle of a copy, which attacks on the kernel are built on.
    "userfaultfd",
)
"""System calls that neither nspawn nor the container may use, with the error if it is not EPERM.
`keyctl` is in nspawn's own filter only: nspawn needs it to give the container a keyring."""


@dataclass(frozen=True, slots=True)
class HostLimits:
    """The limits of the host that all containers share."""

    inotify_instances: int = INOTIFY_INSTANCES.stop * SHARE
    inotify_watches: int = INOTIFY_WATCHES.stop * SHARE

    @classmethod
    def read(cls, folder: Path) -> "HostLimits":
        """Return the limits in `folder`, the host's /proc/sys/fs/inotify."""
        try:
            return cls(
                int((folder / "max_user_instances").read_text()),
                int((folder / "max_user_watches").read_text()),
            )
        except (OSError, ValueError):
            return cls()

    @property
    def agents(self) -> int:
        """The number of agents that may take all they get and leave the host's root some."""
        instances = self.inotify_instances // self.instances_of_agent
        return min(instances, self.inotify_watches // self.watches_of_agent) - 1

    @property
    def instances_of_agent(self) -> int:
        """The most inotify instances of one agent."""
        return _share(self.inotify_instances, INOTIFY_INSTANCES)

    @property
    def watches_of_agent(self) -> int:
        """The most inotify watches of one agent."""
        return _share(self.inotify_watches, INOTIFY_WATCHES)


def kernel_limits(host: HostLimits, *, nested: bool) -> Mapping[str, int]:
    """Return the limits of the container's user namespace, by their names in /proc/sys/user."""
    namespaces = MAX_NESTED if nested else MAX_NAMESPACES
    return {
        "max_inotify_instances": host.instances_of_agent,
        "max_inotify_watches": host.watches_of_agent,
        "max_fanotify_groups": 0,
        "max_fanotify_marks": 0,
        **{f"max_{kind}_namespaces": namespaces for kind in NAMESPACES},
        **{f"max_{kind}_namespaces": namespaces if nested else 0 for kind in NESTED},
    }


def exec_lines(script: str, init: str, host: HostLimits, *, nested: bool) -> Iterator[str]:
    """Yield the lines of the section [Exec] of the settings.

    Args:
        script: the command that runs SCRIPT.
        init: the systemd of the container.
        host: the limits of the host.
        nested: whether programs in the container may create user and network namespaces.
    """
    limits = kernel_limits(host, nested=nested)
    words = " ".join(f"{name}={value}" for name, value in limits.items())
    # Not Boot=yes: the limits must be set by a process in the container that has not run anything
    # of the agent yet.
    yield "Boot=no"
    yield "KillSignal=SIGRTMIN+3"
    yield f'Parameters={script} "{words}" {init} {TARGET} {STATUS}'
    yield f"LimitNOFILE=1024:{OPEN_FILES}"
    yield f"LimitMSGQUEUE={MESSAGE_QUEUES}"
    yield f"LimitSIGPENDING={PENDING_SIGNALS}"


def service_lines(writable: Iterable[Path]) -> Iterator[str]:
    """Yield the lines of the section [Service] of the drop-in.

    They apply to systemd-nspawn, too, and the container inherits the filters.

    Args:
        writable: the directories that the container may write.
    """
    slice = "/sys/fs/cgroup/hive.slice/hive-agents.slice"
    # systemd has no setting for it. Without the unified hierarchy there is no such file.
    script = (
        f"cd {slice} || exit 0; echo {ALL_CONTROL_GROUPS} > cgroup.max.descendants; "
        f"echo {CONTROL_GROUPS} > %n/cgroup.max.descendants"
    )
    yield f"ExecStartPre=/bin/sh -c '{script}'"
    yield "MemorySwapMax=512M"
    # The kernel takes the limits of all processes of the container from these.
    yield f"LimitNOFILE=1024:{OPEN_FILES}"
    yield f"LimitMSGQUEUE={MESSAGE_QUEUES}"
    yield f"LimitSIGPENDING={PENDING_SIGNALS}"
    yield f"CapabilityBoundingSet={' '.join(CAPABILITIES)}"
    yield "NoNewPrivileges=yes"
    yield f"RestrictAddressFamilies={' '.join(FAMILIES)}"
    yield "RestrictRealtime=yes"
    # A filter sees only the system calls of the architecture that it was made for.
    yield "SystemCallArchitectures=native"
    yield "SystemCallErrorNumber=EPERM"
    yield f"SystemCallFilter=~{' '.join((*DENIED_GROUPS, *DENIED))}"
    yield "ProtectClock=yes"
    yield "ProtectKernelLogs=yes"
    yield "ProtectKernelModules=yes"
    yield "ProtectHome=yes"
    yield "PrivateTmp=yes"
    # If nspawn is ever led out of the container's root, it finds a host that it cannot change. It
    # writes sockets and locks to /run, and a lock beside the template.
    yield "ProtectSystem=strict"
    yield f"ReadWritePaths=/run /var/lib/machines {' '.join(map(str, writable))}"


def _share(total: int, bounds: range) -> int:
    return max(bounds.start, min(bounds.stop - 1, total // SHARE))
