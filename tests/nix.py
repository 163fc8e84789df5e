"""Programs of Nix for the tests: offline, with a store of their own."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[1]
STAND_IN: Final = ROOT / "tests/nixpkgs"
OFFLINE: Final = """\
experimental-features = nix-command flakes
substituters =
flake-registry =
build-users-group =
sandbox = false
"""

IMPOSSIBLE: Final = [
    (
        'dashboard.address = "192.0.2.1";',
        "dashboard.address = 192.0.2.1 can be reached by other hosts",
    ),
    ("dashboard.behindProxy = true;", "behindProxy needs settings.dashboard.trusted_proxies"),
    ("dashboard.openFirewall = true;", "openFirewall has no effect"),
    ("dashboard.port = 7001;", "are both 7001. Choose another port"),
    ("agents.Alice = { };", '"Alice" is not a valid agent name'),
    ("agents.operator = { };", '"operator" is not a valid agent name'),
    ('credentials.agents.a_b = "/run/keys/a";', '"a_b" is not a valid agent name'),
    ('notify.tokenFiles.phone = "/run/keys/a";', "has no webhook of this name"),
    (
        'telemetry.headerFiles.authorization = "/run/keys/a";',
        "headerFiles needs settings.telemetry.endpoint",
    ),
    ("broker.enable = false;", "lifecycle needs the broker"),
    ('forge.address = "0.0.0.0";', "texts of private repositories would cross the network"),
    ('forge.tokenFiles.alice = "/run/keys/a";', "settings.forge.agents has no agent of this name"),
    ("gateway.enable = false;", "lifecycle needs the gateways"),
    ('backend = "nspawn";', "cannot work on NixOS"),
]
"""Settings that cannot work, and a part of the sentence that says so."""

MISTYPED: Final = [
    ("settings.broker.keep_days = 0;", "settings.broker.keep_days' is not of type"),
    ('settings.lifecycle.network = "own";', "settings.lifecycle.network' is not of type"),
    ("settings.lifecycle.resources.memory_max = 1;", "memory_max' is not of type"),
    ('dashboard.port = "7000";', "dashboard.port' is not of type"),
    ("agents.alice.budget.day = 0;", "agents.alice.budget.day' is not of type"),
    ('builds.memoryMax = "50%";', "builds.memoryMax' is not of type"),
    ("agents.alice.modell = 1;", "agents.alice.modell' does not exist"),
]
"""Settings of another type, and a part of the error."""

needs_nix = pytest.mark.skipif(
    shutil.which("nix-instantiate") is None, reason="nix is not installed (apt install nix-bin)"
)


def run(
    *command: str | Path, home: Path, check: bool = True, timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run a program of Nix, with its store and its state below `home`."""
    environment = {
        **os.environ,
        "NIX_CONFIG": OFFLINE,
        "HOME": str(home),
        "NIX_STATE_DIR": str(home / "state"),
        "NIX_STORE_DIR": str(home / "store"),
        "NIX_LOG_DIR": str(home / "log"),
        "NIX_CONF_DIR": str(home),
    }
    done = subprocess.run(
        command, env=environment, check=False, capture_output=True, text=True, timeout=timeout
    )
    if check and done.returncode != 0:
        raise AssertionError(done.stderr)
    return done


def evaluate(home: Path, settings: str, *modules: str) -> Any:
    """Return what modules make of settings, with the stand-in for nixpkgs; see evaluate.nix."""
    return value(_evaluated(home, settings, modules, check=True), home)


def value(done: subprocess.CompletedProcess[str], home: Path) -> Any:
    """Return what a program printed as JSON, with the paths of the usual store."""
    return json.loads(done.stdout.replace(str(home / "store"), "/nix/store"))


def refusal(home: Path, settings: str, *modules: str) -> str:
    """Return the error of settings that are refused."""
    done = _evaluated(home, settings, modules, check=False)
    assert done.returncode != 0, "the settings are accepted"
    return done.stderr


def _evaluated(
    home: Path, settings: str, modules: tuple[str, ...], *, check: bool
) -> subprocess.CompletedProcess[str]:
    paths = " ".join(str(ROOT / "nix/modules" / f"{name}.nix") for name in modules or ("default",))
    return run(
        *("nix-instantiate", "--eval", "--strict", "--json", STAND_IN / "evaluate.nix"),
        *("--arg", "modules", f"[ {paths} ]", "--arg", "settings", settings),
        home=home,
        check=check,
    )
