"""The root file system of a sandbox: an overlay in memory over the machine's root."""

import shutil
import subprocess
import uuid
from pathlib import Path
from typing import Final

from sandbox.instance import Instance

TARGET: Final = "hive-sandbox.target"

_TARGET_UNIT: Final = """\
[Unit]
Description=The sandbox is ready
Requires=basic.target dbus.socket
After=basic.target dbus.socket
AllowIsolate=yes
"""

_MANAGER: Final = """\
[Manager]
DefaultTimeoutStopSec=10s
"""

_JOURNAL: Final = """\
[Journal]
Storage=persistent
SystemMaxUse=256M
RateLimitIntervalSec=0
"""

_BUS: Final = """\
[Service]
# dbus-daemon looks up the groups of each peer, and nss-systemd passes that on to systemd-machined.
# Machined may be waiting for dbus-daemon just then: both would hang for 25 s.
Environment=SYSTEMD_BYPASS_USERDB=io.systemd.Machine
"""

_FRESH: Final = (
    # The machine's own enablement, and what `make install` may have put there.
    "etc/systemd/system",
    "etc/systemd/nspawn",
    "etc/hyperhive",
    "usr/local/lib/systemd",
    "usr/local/share/dbus-1",
    "usr/local/lib/sysctl.d",
    "usr/local/lib/sysusers.d",
    "usr/local/lib/tmpfiles.d",
    "var/lib/systemd",
    "var/lib/machines",
)

_KEPT_ALIASES: Final = ("dbus.service", "sockets.target.wants/dbus.socket")
"""The links that choose the machine's D-Bus daemon (dbus-daemon or dbus-broker)."""

_MASKED: Final = (
    # These would act on the machine's kernel, which is shared.
    "kmod-static-nodes.service",
    "modprobe@.service",
    "proc-sys-fs-binfmt_misc.automount",
    "systemd-binfmt.service",
    "systemd-modules-load.service",
    "systemd-sysctl.service",
    "systemd-udev-trigger.service",
    "systemd-udevd-control.socket",
    "systemd-udevd-kernel.socket",
    "systemd-udevd.service",
    "dev-hugepages.mount",
    "sys-fs-fuse-connections.mount",
    "sys-kernel-config.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    # These have nothing to do here and cost time.
    "ldconfig.service",
    "systemd-ask-password-console.path",
    "systemd-ask-password-wall.path",
    "systemd-firstboot.service",
    "systemd-hwdb-update.service",
    "systemd-initctl.socket",
    "systemd-journal-catalog-update.service",
    "systemd-machine-id-commit.service",
    "systemd-random-seed.service",
    "systemd-remount-fs.service",
    "systemd-tmpfiles-clean.timer",
    "systemd-update-done.service",
    "systemd-update-utmp.service",
)


def build(instance: Instance) -> Path:
    """Mount the overlay, prepare it for boot, and return its directory.

    The caller must be in its own mount namespace: the mounts go with the last process in it.
    """
    base = instance.run_dir / "overlay"
    base.mkdir()
    _mount("-t", "tmpfs", "-o", "mode=0755", "hyperhive-sandbox", str(base))
    upper, work, root = base / "upper", base / "work", base / "root"
    for directory in (upper, work, root):
        directory.mkdir()
    layers = f"lowerdir=/,upperdir={upper},workdir={work}"
    _mount("-t", "overlay", "-o", layers, "overlay", str(root))
    _prepare(root, instance)
    return root


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def _prepare(root: Path, instance: Instance) -> None:
    units = root / "etc/systemd/system"
    aliases = {
        name: str((units / name).readlink())
        for name in _KEPT_ALIASES
        if (units / name).is_symlink()
    }
    for directory in _FRESH:
        shutil.rmtree(root / directory, ignore_errors=True)
        (root / directory).mkdir(parents=True)
    for name, target in aliases.items():
        _link(units / name, target)
    for name in _MASKED:
        _link(units / name, "/dev/null")
    _mask_generators(root)
    for policy in (root / "etc/dbus-1/system.d").glob("org.hyperhive.*"):
        policy.unlink()
    _write(units / TARGET, _TARGET_UNIT)
    _write(root / "etc/systemd/system.conf.d/50-sandbox.conf", _MANAGER)
    _write(units / "dbus.service.d/50-sandbox.conf", _BUS)
    _write(root / "etc/systemd/journald.conf.d/50-sandbox.conf", _JOURNAL)
    # Bash shows this in the prompt, to tell the shell from one of the machine.
    _write(root / "etc/debian_chroot", f"sandbox {instance.name}\n")
    _write(root / "etc/fstab", "")
    _write(root / "etc/crypttab", "")
    _write(root / "etc/resolv.conf", _text(Path("/etc/resolv.conf")))
    _write(root / "etc/machine-id", machine_id(instance) + "\n")
    _link(root / "var/lib/dbus/machine-id", "/etc/machine-id")


def machine_id(instance: Instance) -> str:
    """Return the sandbox's machine-id, which is kept with its data: the journal needs it."""
    path = instance.state_dir / "machine-id"
    if not path.exists():
        _write(path, uuid.uuid4().hex)
    return path.read_text()


def _mask_generators(root: Path) -> None:
    """Mask all generators: they read the machine's fstab, init scripts and databases."""
    for directory in ("usr/lib", "usr/local/lib", "lib"):
        for generator in (root / directory / "systemd/system-generators").glob("*"):
            _link(root / "etc/systemd/system-generators" / generator.name, "/dev/null")


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(text)


def _link(path: Path, target: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target)
