"""The flake and its modules with a real nixpkgs, which HIVE_TEST_NIXPKGS names; nothing is built.

    HIVE_TEST_NIXPKGS=/path/to/nixpkgs .venv/bin/pytest tests/test_nixpkgs.py

The nixpkgs must be of 25.11 or later.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.nix import IMPOSSIBLE, MISTYPED, ROOT, needs_nix, run

NIXPKGS = os.environ.get("HIVE_TEST_NIXPKGS")

pytestmark = [
    needs_nix,
    pytest.mark.skipif(NIXPKGS is None, reason="HIVE_TEST_NIXPKGS (a path to nixpkgs) is not set"),
]

# The flake with this nixpkgs as its inputs: to lock it, Nix would copy all of nixpkgs.
FLAKE = f"""
  nixpkgs = {{
    outPath = {NIXPKGS};
    narHash = "sha256-{"A" * 43}=";
    lib = import {NIXPKGS}/lib // {{
      nixosSystem = arguments: import {NIXPKGS}/nixos/lib/eval-config.nix ({{
        system = null;
      }} // arguments);
    }};
    legacyPackages = nixpkgs.lib.genAttrs [ "x86_64-linux" "aarch64-linux" ] (
      system: import {NIXPKGS} {{ inherit system; }}
    );
  }};
  flake = (import {ROOT}/flake.nix).outputs {{
    self = flake // {{ outPath = {NIXPKGS}/lib; inherit (nixpkgs) narHash; }};
    inherit nixpkgs;
    nixpkgs-unstable = nixpkgs;
  }};
  inherit (nixpkgs) lib;
  pkgs = nixpkgs.legacyPackages.x86_64-linux;
  own = builtins.tryEval flake.packages.x86_64-linux.hyperhive.drvPath;
  host = settings: nixpkgs.lib.nixosSystem {{
    modules = [
      flake.nixosModules.default
      flake.nixosModules.default
      flake.nixosModules.dashboard
      flake.nixosModules.forge
      {{
        # Only where this nixpkgs is too old for the package: another test says so.
        services.hyperhive.package = lib.mkIf (!own.success) (
          pkgs.runCommand "hyperhive" {{ }} "mkdir $out"
        );
        nixpkgs.hostPlatform = "x86_64-linux";
        system.stateVersion = "25.11";
        fileSystems."/" = {{ device = "none"; fsType = "tmpfs"; }};
        boot.loader.grub.enable = false;
        users.users.ann.isNormalUser = true;
      }}
      {{ services.hyperhive.enable = true; services.hive-forge.enable = true; }}
      {{ services.hyperhive = settings; }}
    ];
  }};
"""

EVERYTHING = """{
  operators = [ "ann" ];
  operator = { name = "Ann"; pronouns = "she/her"; };
  credentials.default = "/run/keys/a";
  credentials.agents.alice = "/run/keys/alice";
  agents.alice.settings.resources.memory_max = "8G";
  dashboard = {
    address = "192.0.2.1";
    openFirewall = true;
    behindProxy = true;
    metricsTokenFile = "/run/keys/metrics";
  };
  notify.tokenFiles.phone = "/run/keys/phone";
  telemetry.headerFiles.authorization = "/run/keys/collector";
  projects.credentialFiles.website = "/run/keys/website";
  settings = {
    dashboard = { url = "https://hive.example.org"; trusted_proxies = [ "192.0.2.2" ]; };
    notify.webhooks = [ { name = "phone"; type = "ntfy"; url = "https://ntfy.sh/x"; } ];
    telemetry.endpoint = "http://127.0.0.1:4318";
  };
}"""


def value(expression: str, home: Path) -> Any:
    """Return the value of an expression about `flake`, `pkgs` and `host SETTINGS`."""
    done = run(
        *("nix-instantiate", "--eval", "--strict", "--json"),
        *("-E", f"let {FLAKE} in {expression}"),
        home=home,
        timeout=600,
    )
    return json.loads(done.stdout)


def error(expression: str, home: Path) -> str:
    done = run(
        *("nix-instantiate", "--eval", "--strict", "-E", f"let {FLAKE} in {expression}"),
        home=home,
        check=False,
        timeout=600,
    )
    assert done.returncode != 0
    return done.stderr


def test_it_is_new_enough(tmp_path: Path) -> None:
    """Otherwise the other tests would fail for a reason that they do not name."""
    found = value(
        """{
          release = lib.versionAtLeast lib.trivial.release "25.11";
          mkPackageOption = lib ? mkPackageOption;
          formats = pkgs ? formats && pkgs.formats ? toml;
          fileset = lib ? fileset;
          treefmt = pkgs.treefmt ? withConfig;
        }""",
        tmp_path,
    )
    assert all(found.values()), f"HIVE_TEST_NIXPKGS lacks something: {found}"


def test_the_package_evaluates_or_says_which_library_is_too_old(tmp_path: Path) -> None:
    for package in ("hyperhive", "harness"):
        expression = f"flake.packages.x86_64-linux.{package}.drvPath"
        done = run(
            *("nix-instantiate", "--eval", "-E", f"let {FLAKE} in {expression}"),
            home=tmp_path,
            check=False,
            timeout=600,
        )
        if done.returncode != 0:
            assert "hyperhive needs" in done.stderr, done.stderr
            assert "Update the input nixpkgs." in done.stderr


def test_a_host_with_everything_has_a_system(tmp_path: Path) -> None:
    """Without an overlay, without allowUnfree, and with modules that are imported twice."""
    expression = f"(host {EVERYTHING}).config.system.build.toplevel.drvPath"
    assert value(expression, tmp_path).endswith(".drv")


@pytest.mark.parametrize("manager", ["true", "false"])
def test_an_agent_has_a_system(manager: str, tmp_path: Path) -> None:
    expression = f"""(flake.lib.agentSystem {{
      name = "alice";
      system = "x86_64-linux";
      manager = {manager};
    }}).config.system.build.toplevel.drvPath"""
    assert value(expression, tmp_path).endswith(".drv")


def sections(text: str) -> list[tuple[str, str]]:
    """Return the section and the line of each setting of a unit."""
    found, section = [], ""
    for line in text.splitlines():
        if line.startswith("["):
            section = line
        elif line and not line.startswith(("#", ";")):
            found.append((section, line))
    return found


ADDED = {
    "[Unit]": {"X-Restart-Triggers", "X-Reload-Triggers"},
    "[Service]": {
        *("Environment", "LoadCredential", "X-Restart-Triggers", "X-RestartIfChanged"),
        "X-StopIfChanged",
    },
    "[Socket]": {"ListenStream"},
}
"""The settings of drop-ins; all others of a shipped unit stay as they are."""

VARIABLES = ("PATH=", "LOCALE_ARCHIVE=", "TZDIR=")
"""The variables that NixOS gives to every service."""


def test_each_generated_unit_adds_to_the_shipped_one(tmp_path: Path) -> None:
    units = value(
        f"""lib.mapAttrs (_: unit: {{ inherit (unit) text overrideStrategy; }}) (
          lib.filterAttrs (name: unit: lib.hasPrefix "hive" name && unit.text != null)
          (host {EVERYTHING}).config.systemd.units
        )""",
        tmp_path,
    )
    shipped = {path.name: path for path in (ROOT / "services").rglob("*") if path.is_file()}
    ours = {name: unit for name, unit in units.items() if name in shipped}
    assert set(units) - set(ours) <= {
        *("hive-declared-agents.service", "hive-forge-accounts.service"),
        *("hive-forge-mirror.service", "hive-forge-mirror.path"),
    }
    assert {"hive-broker.service", "hive-dashboard.socket", "hive.target"} <= set(ours)
    limits = (ROOT / "services/build/hive-build-nixos.conf").read_text()
    builds = {line.partition("=")[0] for _, line in sections(limits)}
    for name, unit in ours.items():
        more = builds if name == "hive-build@.service" else set()
        assert unit["overrideStrategy"].startswith("asDropin"), name
        for section, line in sections(unit["text"]):
            key = line.partition("=")[0]
            assert key in ADDED.get(section, set()) | more, (name, line)
            # A list that is set anew replaces what the shipped unit has, PATH apart.
            if key == "Environment":
                assert line.split("=", 1)[1].strip('"').startswith(VARIABLES)


@pytest.mark.parametrize(("settings", "sentence"), IMPOSSIBLE)
def test_settings_that_cannot_work_are_refused_with_a_sentence(
    settings: str, sentence: str, tmp_path: Path
) -> None:
    expression = f"(host {{ {settings} }}).config.system.build.toplevel.drvPath"
    assert sentence in error(expression, tmp_path)


@pytest.mark.parametrize(("settings", "said"), MISTYPED)
def test_a_value_of_another_type_is_refused(settings: str, said: str, tmp_path: Path) -> None:
    expression = f"(host {{ {settings} }}).config.system.build.toplevel.drvPath"
    assert said in error(expression, tmp_path)
