"""The unit tests on the next Debian, with its Python and systemd, in a tree made for that."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from installer import machine, vendor

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(os.geteuid() != 0, reason="a tree with users of its own needs root"),
    pytest.mark.skipif(not shutil.which("mmdebstrap"), reason="mmdebstrap is not installed"),
]
REPO = Path(__file__).parents[1]
RELEASE = "trixie"
LEFT_OUT = (
    *("chromium-headless-shell", "chromium", "chromium-driver", "nodejs", "npm", "nix-bin"),
    *("mmdebstrap", "zsh", "fish"),
)
"""Large packages that do not depend on the release; tests that need them are skipped."""
FROM_THE_MACHINE = ("/etc/resolv.conf", "/etc/ssl/certs/ca-certificates.crt", "/etc/pip.conf")
"""Files by which the tree fetches packages from where the machine does."""
SUITE = """
set -e
python3 -B sandbox/bootstrap.py
exec .venv/bin/pytest -q --numprocesses=auto -m 'not system and not long'
"""


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """Make a tree of the release with what a host needs, and copy the repository into it."""
    needs = [*machine.HOST, *machine.BUILD]
    packages = ",".join(need.apt for need in needs if need.apt not in LEFT_OUT)
    tree = tmp_path / "tree"
    made = subprocess.run(
        [
            "mmdebstrap",
            "--variant=minbase",
            f"--include={packages},iproute2,util-linux",
            RELEASE,
            tree,
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    if "Could not resolve" in made.stderr or "Unable to connect" in made.stderr:
        pytest.skip("no package archive can be reached from here")
    assert made.returncode == 0, made.stderr[-2000:]
    ours = subprocess.run(
        ["git", "-C", REPO, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True,
        capture_output=True,
    )
    fetched = [str(path.relative_to(REPO)) for path in (REPO / vendor.SERVED).glob("*")]
    for name in (*ours.stdout.decode().split("\0"), *fetched):
        if name and (REPO / name).exists():
            (tree / "repo" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPO / name, tree / "repo" / name)
    for name in FROM_THE_MACHINE:
        if Path(name).exists():
            (tree / name[1:]).unlink(missing_ok=True)
            (tree / name[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(name, tree / name[1:])
    yield tree
    subprocess.run(["rm", "-rf", "--one-file-system", tree], check=True)


def test_the_suite_passes_on_debian_13(tree: Path) -> None:
    enter = ["systemd-nspawn", "--quiet", f"--directory={tree}", "--machine=hyperhive-debian13"]
    enter += ["--register=no", "--keep-unit", "--pipe", "--as-pid2", "--chdir=/repo"]
    enter += ["--resolv-conf=off", "--capability=all", "--system-call-filter=bpf"]
    enter += [f"--setenv={key}={value}" for key, value in os.environ.items() if "PIP_" in key]
    ran = subprocess.run(
        [*enter, "/bin/sh", "-c", SUITE],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=3600,
    )
    assert ran.returncode == 0, ran.stdout[-20_000:]
    print(ran.stdout[-300:])
