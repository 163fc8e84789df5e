"""The Nix files, as far as they can be checked without nixpkgs: parsed, and evaluated."""

import json
import os
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "nix" / "modules").glob("*.nix"))
FILES = [
    ROOT / "flake.nix",
    *sorted((ROOT / "nix").rglob("*.nix")),
    ROOT / "tests/nix_stand_in.nix",
]
NIXPKGS = os.environ.get("HIVE_TEST_NIXPKGS")
OFFLINE = "experimental-features = nix-command flakes\nsubstituters =\nflake-registry =\n"

pytestmark = pytest.mark.skipif(
    shutil.which("nix-instantiate") is None, reason="nix is not installed (apt install nix-bin)"
)


def run(*command: str | Path, home: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "NIX_CONFIG": OFFLINE,
        "HOME": str(home),
        "NIX_STATE_DIR": str(home / "state"),
        "NIX_STORE_DIR": str(home / "store"),
        "NIX_LOG_DIR": str(home / "log"),
        "NIX_CONF_DIR": str(home),
    }
    return subprocess.run(
        command, env=environment, check=check, capture_output=True, text=True, timeout=60
    )


def evaluate(home: Path, settings: str = "{ services.hyperhive.enable = true; }") -> Any:
    answer = run(
        *("nix-instantiate", "--eval", "--strict", "--json", ROOT / "tests/nix_stand_in.nix"),
        *("--arg", "module", ROOT / "nix/modules/default.nix", "--arg", "settings", settings),
        home=home,
    )
    return json.loads(answer.stdout)


def shipped_units() -> set[str]:
    """The units that the package ships."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    data = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    return {
        Path(target).name for target in data.values() if target.startswith("lib/systemd/system/")
    }


def pulls_in(unit: str, name: str) -> bool:
    """Return whether the text of a unit requires or wants another unit."""
    wants = (line for line in unit.splitlines() if line.startswith(("Requires=", "Wants=")))
    return any(name in line.partition("=")[2].split() for line in wants)


def wanted(config: Any) -> set[str]:
    """The units to which the modules give a wantedBy."""
    kinds = {"services": "service", "sockets": "socket", "targets": "target", "timers": "timer"}
    return {
        f"{name}.{suffix}"
        for kind, suffix in kinds.items()
        for name, unit in config.get("systemd", {}).get(kind, {}).items()
        if unit.get("wantedBy")
    }


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_it_parses(file: Path, tmp_path: Path) -> None:
    run("nix-instantiate", "--parse", file, home=tmp_path)


def test_every_shipped_unit_is_started_by_a_module(tmp_path: Path) -> None:
    """NixOS ignores [Install] of packaged units. Started by others: slices, templates, and units
    that a unit requires or wants."""
    by_others = {unit for unit in shipped_units() if unit.endswith(".slice") or "@" in unit}
    # A service of the same name as a timer is started by the timer.
    by_others |= {
        unit
        for unit in shipped_units()
        if unit.endswith(".service") and unit.replace(".service", ".timer") in shipped_units()
    }
    files = [file for file in (ROOT / "services").rglob("*") if file.name in shipped_units()]
    # A socket starts the service of its name, which then needs no [Install].
    by_others |= {
        file.name
        for file in files
        if file.suffix == ".service"
        and "[Install]" not in file.read_text()
        and file.with_suffix(".socket") in files
    }
    by_others |= {
        file.name
        for file in files
        if "[Install]" not in file.read_text()
        and any(pulls_in(other.read_text(), file.name) for other in files)
    }
    assert wanted(evaluate(tmp_path)["config"]) == shipped_units() - by_others


def test_nothing_is_set_when_the_hive_is_off(tmp_path: Path) -> None:
    assert evaluate(tmp_path, "{ }")["config"] == {}


def test_one_service_can_be_left_out(tmp_path: Path) -> None:
    settings = "{ services.hyperhive = { enable = true; dashboard.enable = false; }; }"
    units = wanted(evaluate(tmp_path, settings)["config"])
    assert not {unit for unit in units if "dashboard" in unit}
    assert "hive.target" in units


def test_every_option_is_described_with_default_and_example(tmp_path: Path) -> None:
    options = evaluate(tmp_path)["options"]
    assert {"services.hyperhive.enable", "services.hyperhive.dashboard.port"} <= {
        option["name"] for option in options
    }
    for option in options:
        assert option["described"], option
        assert option["hasDefault"], option
        assert option["hasExample"], option


def test_the_kernels_limits_are_those_of_sysctl(tmp_path: Path) -> None:
    lines = (ROOT / "services/hyperhive.sysctl.conf").read_text().splitlines()
    shipped = dict(line.split(" = ") for line in lines if not line.startswith("#"))
    found = evaluate(tmp_path)["config"]["boot"]["kernel"]["sysctl"]
    assert {name: str(value) for name, value in found.items()} == shipped


def test_users_are_those_of_sysusers(tmp_path: Path) -> None:
    """NixOS does not read sysusers.d of a package, so the modules repeat it."""
    lines = (ROOT / "services/hyperhive.sysusers.conf").read_text().splitlines()
    rows = [line.split()[:2] for line in lines if line and not line.startswith("#")]
    config = evaluate(tmp_path)["config"]
    assert set(config["users"]["users"]) == {name for kind, name in rows if kind == "u"}
    assert set(config["users"]["groups"]) == {name for _, name in rows}


def test_settings_and_port_reach_what_they_are_for(tmp_path: Path) -> None:
    settings = (
        '{ services.hyperhive = { enable = true; operators = [ "ann" ];'
        ' dashboard.port = 8080; apiKeyFile = "/run/keys/a";'
        ' notify.tokenFiles.phone = "/run/keys/b";'
        ' telemetry.headerFiles.authorization = "/run/keys/c"; }; }'
    )
    config = evaluate(tmp_path, settings)["config"]
    assert config["systemd"]["sockets"]["hive-dashboard"]["listenStreams"] == ["", "127.0.0.1:8080"]
    assert config["users"]["groups"]["hive"]["members"] == ["ann"]
    services = config["systemd"]["services"]
    given = {name: services[name]["serviceConfig"] for name in ("hive-notify", "hive-telemetry")}
    assert given == {
        "hive-notify": {"LoadCredential": ["notify_phone:/run/keys/b"]},
        "hive-telemetry": {"LoadCredential": ["telemetry_authorization:/run/keys/c"]},
    }
    assert any("/run/keys/a" in rule for rule in config["systemd"]["tmpfiles"]["rules"])
    assert all(one["assertion"] for one in config["assertions"])


def test_a_key_in_the_store_is_refused(tmp_path: Path) -> None:
    key = tmp_path / "store" / "key"
    settings = f'{{ services.hyperhive = {{ enable = true; apiKeyFile = "{key}"; }}; }}'
    [assertion] = evaluate(tmp_path, settings)["config"]["assertions"]
    assert assertion["assertion"] is False


def test_the_package_takes_every_dependency_of_the_project() -> None:
    """Names differ between PyPI and nixpkgs in case only."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    package = (ROOT / "nix/package.nix").read_text()
    for requirement in {*extras["host"], *extras["harness"]}:
        name = requirement.split("==")[0].split(">")[0].strip().lower()
        assert f"\n      {name}\n" in package, name
    assert f'version = "{project["version"]}"' in package


def test_the_flake_offers_what_it_should(tmp_path: Path) -> None:
    """With an empty flake in the place of nixpkgs; nothing is fetched."""
    flake, empty = tmp_path / "flake", tmp_path / "nixpkgs"
    flake.mkdir()
    empty.mkdir()
    (empty / "flake.nix").write_text("{ outputs = _: { legacyPackages = { }; }; }")
    shutil.copy(ROOT / "flake.nix", flake)
    shutil.copytree(ROOT / "nix", flake / "nix")
    override = ("--override-input", "nixpkgs", f"path:{empty}")
    run("nix", "flake", "lock", f"path:{flake}", *override, home=tmp_path)
    for attribute in ("nixosModules.default", "nixosModules.hyperhive", "overlays.default"):
        reference = f"path:{flake}#{attribute}"
        answer = run(
            *("nix", "eval", reference, *override, "--apply", "builtins.isFunction"), home=tmp_path
        )
        assert answer.stdout.strip() == "true"


@pytest.mark.skipif(NIXPKGS is None, reason="HIVE_TEST_NIXPKGS (a path to nixpkgs) is not set")
def test_a_nixos_system_with_the_hive_evaluates(tmp_path: Path) -> None:
    expression = f"""
      (import {NIXPKGS}/nixos/lib/eval-config.nix {{
        system = "x86_64-linux";
        modules = [
          {ROOT}/nix/modules/default.nix
          {{
            services.hyperhive.enable = true;
            nixpkgs.overlays = [ (final: _: {{ hyperhive = final.hello; }}) ];
            boot.isContainer = true;
            system.stateVersion = "25.11";
          }}
        ];
      }}).config.systemd.units."hive-broker.service".wantedBy
    """
    answer = run("nix-instantiate", "--eval", "--strict", "--json", "-E", expression, home=tmp_path)
    assert json.loads(answer.stdout) == ["hive.target"]
