"""A stand-in for a NixOS system, on a host without nixpkgs: a toplevel in /nix/store.

Runs inside a sandbox, and prints the path of the toplevel; another run makes what is missing, and
another toplevel for another package. Its `init` does what the second stage of
NixOS does: it makes /etc, /bin and /usr, and then executes systemd. All programs are the host's,
whose /usr is mounted in the store. No program works before `init` has made the links to it, so
`init` and the script before it run by static programs, which call the dynamic loader by path.
"""

import hashlib
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

PREFIX: Final = Path("/usr/lib/hyperhive")
STORE: Final = Path("/nix/store")
USR: Final = STORE / f"{'0' * 32}-usr"
TOOLS: Final = STORE / f"{'1' * 32}-tools"
NAME: Final = "nixos-system-stand-in"
GIVEN: Final = "/run/hive-etc"
"""The place of the files that lifecycle gives to a container."""

PROGRAMS: Final = ("sh", "ln", "mkdir", "mount", "setpriv")

LAUNCHER: Final = r"""
#include <string.h>
#include <unistd.h>

int main(int count, char **words)
{
    const char *slash = strrchr(words[0], '/');
    const char *name = slash ? slash + 1 : words[0];
    char program[256] = USR "/bin/";
    char *command[count + 6];
    if (strlen(program) + strlen(name) >= sizeof program)
        return 127;
    strcat(program, name);
    command[0] = LOADER;
    command[1] = "--library-path";
    command[2] = LIBRARIES;
    command[3] = "--argv0";
    command[4] = words[0];
    command[5] = program;
    memcpy(command + 6, words + 1, count * sizeof *words);
    execv(LOADER, command);
    return 127;
}
"""
"""A static program that executes the program of its own name in USR."""

INIT: Final = """\
#!{tools}/bin/sh
# Stands in for the second stage of NixOS.
set -eu
PATH={tools}/bin
mkdir -p /usr/lib /lib/systemd
for entry in {usr}/*; do
    [ "$entry" = {usr}/lib ] || ln -s "$entry" /usr
done
# Not systemd: its units are in /etc, and nothing else is looked for.
for entry in {usr}/lib/*; do
    case $entry in
    */systemd | */hyperhive) ;;
    *)
        ln -s "$entry" /usr/lib
        ln -s "$entry" /lib
        ;;
    esac
done
# The systemd of NixOS knows the place of these in the store.
for helper in {helpers}; do
    mkdir -p "${{helper%/*}}"
    ln -s "{usr}/lib/systemd/${{helper##*/}}" "$helper"
done
for name in bin sbin lib64; do
    [ ! -e "/usr/$name" ] || ln -s "usr/$name" "/$name"
done
mkdir -p /etc
ln -s {toplevel}/etc /etc/static
for entry in /etc/static/*; do
    [ -e "/etc/${{entry##*/}}" ] || ln -s "static/${{entry##*/}}" /etc
done
ln -s {toplevel} /run/current-system
ln -s {toplevel} /run/booted-system
exec {usr}/lib/systemd/systemd "$@"
"""

ETC: Final = ("alternatives", "ca-certificates", "dbus-1", "group", "nsswitch.conf", "pam.d")
MORE: Final = ("passwd", "security", "ssl/certs", "ssl/openssl.cnf")
"""The parts of the host's /etc that its programs need."""

LINKS: Final = {
    "environment": "environment",
    "gitconfig": "gitconfig",
    "hosts": "hosts",
    "hyperhive/harness.json": "hyperhive/harness.json",
    "machine-id": "machine-id",
    "npmrc": "npmrc",
    "resolv.conf": "resolv.conf",
    "ssh/ssh_config": "ssh/ssh_config",
    "systemd/system.conf.d/hyperhive.conf": "systemd/system.conf.d/hyperhive.conf",
}
"""Files in /etc that lead to lifecycle's, as in nix/templates/harness-base.nix."""

GENERATOR: Final = f"""\
#!/bin/sh
exec cp --recursive --symbolic-link {GIVEN}/systemd/system/. "$1"
"""

MASKED: Final = (
    "systemd-ask-password-console.path",
    "systemd-initctl.socket",
    "systemd-remount-fs.service",
    "systemd-sysusers.service",
    "systemd-tmpfiles-setup-dev-early.service",
    "systemd-tmpfiles-setup-dev.service",
    "systemd-update-utmp.service",
)


def build() -> Path:
    """Put the toplevel into the store, unless it is there, and return it."""
    if not USR.exists():
        STORE.mkdir(parents=True, exist_ok=True)
        USR.mkdir()
        subprocess.run(["mount", "--bind", "--make-private", "/usr", USR], check=True)
    if not TOOLS.exists():
        _make_tools()
    _use_script()
    toplevel = STORE / f"{_digest()}-{NAME}"
    if not toplevel.exists():
        new = STORE / f".new-{NAME}"
        shutil.rmtree(new, ignore_errors=True)
        _make_etc(new / "etc")
        _write(new / "init", _init(toplevel), mode=0o555)
        (new / "sw").symlink_to(USR)
        new.rename(toplevel)
    return toplevel


def _digest() -> str:
    """Return a digest of what toplevels differ in: the units of the package, and this module."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for unit in _units():
        digest.update(unit.name.encode() + b"\0" + unit.read_bytes())
    return digest.hexdigest()[:32]


def _units() -> list[Path]:
    """Return the units of the package for containers."""
    return sorted((PREFIX / "share/hyperhive/container").iterdir())


def _in_usr(path: Path) -> Path:
    """Return the place in USR of a file in /usr."""
    return USR / path.resolve().relative_to("/usr")


def _make_tools() -> None:
    headers = subprocess.run(
        ["readelf", "--program-headers", "/bin/sh"], check=True, capture_output=True, text=True
    ).stdout
    found = re.search(r"program interpreter: ([^]]+)]", headers)
    if found is None:
        raise SystemExit("/bin/sh has no dynamic loader.")
    loader = _in_usr(Path(found[1]))
    (TOOLS / "bin").mkdir(parents=True)
    words = {"USR": USR, "LOADER": loader, "LIBRARIES": loader.parent}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "launcher.c")
        source.write_text(LAUNCHER)
        defined = [f'-D{name}="{value}"' for name, value in words.items()]
        command = ["gcc", "-static", "-O1", *defined, "-o", f"{TOOLS}/bin/sh", f"{source}"]
        subprocess.run(command, check=True)
    for name in PROGRAMS[1:]:
        (TOOLS / "bin" / name).hardlink_to(TOOLS / "bin/sh")


def _use_script() -> None:
    """Have hive-init.sh use programs in the store, as the package of Nix does.

    An installation of the package replaces the file, and the mount on it ends.
    """
    script = PREFIX / "share/hyperhive/hive-init.sh"
    text, shell = script.read_text(), f"#!{TOOLS}/bin/sh"
    if text.startswith(shell):
        return
    text = text.replace("#!/bin/sh", shell, 1)
    text = re.sub(r"^((?:exec )?)(mount|setpriv) ", rf"\1{TOOLS}/bin/\2 ", text, flags=re.MULTILINE)
    _write(TOOLS / "hive-init.sh", text, mode=0o555)
    subprocess.run(["mount", "--bind", TOOLS / "hive-init.sh", script], check=True)


def _init(toplevel: Path) -> str:
    # Debian 12's systemd looks in /lib/systemd. Later ones have systemd-executor.
    folder = (
        "/usr/lib/systemd" if (USR / "lib/systemd/systemd-executor").exists() else "/lib/systemd"
    )
    names = ("systemd-executor", "systemd-shutdown")
    helpers = [f"{folder}/{name}" for name in names if (USR / "lib/systemd" / name).exists()]
    return INIT.format(tools=TOOLS, usr=USR, toplevel=toplevel, helpers=" ".join(helpers))


def _make_etc(etc: Path) -> None:
    for name in (*ETC, *MORE):
        source = Path("/etc", name)
        (etc / name).parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, etc / name, symlinks=True)
        elif source.exists():
            shutil.copy(source, etc / name)
    for name, target in LINKS.items():
        (etc / name).parent.mkdir(parents=True, exist_ok=True)
        (etc / name).symlink_to(f"{GIVEN}/{target}")
    _write(etc / "os-release", 'ID=nixos\nPRETTY_NAME="NixOS (stand-in)"\n')
    _write(etc / "systemd/journald.conf", "[Journal]\nSystemMaxUse=64M\nRuntimeMaxUse=16M\n")
    _write(etc / "systemd/system-generators/hive-etc", GENERATOR, mode=0o555)
    _make_units(etc / "systemd/system")


def _make_units(units: Path) -> None:
    shutil.copytree("/usr/lib/systemd/system", units, symlinks=True)
    for unit in _units():
        shutil.copy(unit, units)
    for unit in units.rglob("*"):
        if unit.is_file() and not unit.is_symlink():
            text = unit.read_text()
            changed = re.sub(r"(/usr)?/lib/systemd/(?=systemd)", f"{USR}/lib/systemd/", text)
            if changed != text:
                unit.write_text(changed)
    for name in MASKED:
        (units / name).unlink(missing_ok=True)
        (units / name).symlink_to("/dev/null")


def _write(path: Path, text: str, mode: int = 0o444) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


if __name__ == "__main__":
    print(build())
