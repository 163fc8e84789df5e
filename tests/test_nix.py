"""The NixOS modules, as far as they can be checked without nixpkgs: parsed, and evaluated."""

import ast
import builtins
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from services import flakelock, metaflake
from services.config import Config, NixosConfig
from services.metaflake import Locked
from tests.nix import (
    IMPOSSIBLE,
    MISTYPED,
    ROOT,
    STAND_IN,
    evaluate,
    needs_nix,
    refusal,
    run,
    value,
)

FILES = sorted(
    {ROOT / "flake.nix", *(ROOT / "nix").rglob("*.nix"), *(ROOT / "tests/nixpkgs").glob("*.nix")}
)
MODULES = sorted(path.stem for path in (ROOT / "nix/modules").glob("*.nix"))
ON = "{ services.hyperhive.enable = true; }"

pytestmark = needs_nix


def with_hive(settings: str) -> str:
    return f"{{ services.hyperhive = {{ enable = true; {settings} }}; }}"


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


def failed(config: Any) -> list[str]:
    """The sentences of the assertions that do not hold."""
    return [one["message"] for one in config["assertions"] if not one["assertion"]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store for several evaluations."""
    return tmp_path_factory.mktemp("nix")


@pytest.fixture(scope="module")
def usual(home: Path) -> Any:
    """A host where nothing but `enable` is set."""
    return evaluate(home, ON)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_it_parses(file: Path, tmp_path: Path) -> None:
    run("nix-instantiate", "--parse", file, home=tmp_path)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_it_has_the_usual_form(file: Path) -> None:
    """As far as that can be told without nixfmt, which `nix fmt` runs."""
    text = file.read_text()
    assert "\t" not in text
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    for line in text.splitlines():
        code = line.lstrip(" ")
        assert line == line.rstrip()
        assert (len(line) - len(code)) % 2 == 0, line
        # A text or a comment cannot be broken.
        assert len(code) <= 100 or '"' in code or code.startswith("#"), line


def test_every_shipped_unit_is_started_by_a_module(usual: Any) -> None:
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
    assert wanted(usual["config"]) == shipped_units() - by_others
    assert failed(usual["config"]) == []


def test_nothing_is_set_when_the_hive_is_off(tmp_path: Path) -> None:
    def leaves(tree: Any) -> list[Any]:
        if isinstance(tree, dict):
            return [leaf for one in tree.values() for leaf in leaves(one)]
        return [tree]

    assert leaves(evaluate(tmp_path, "{ }")["config"]) == []


def test_one_service_can_be_left_out(tmp_path: Path) -> None:
    units = wanted(evaluate(tmp_path, with_hive("dashboard.enable = false;"))["config"])
    assert not {unit for unit in units if "dashboard" in unit}
    assert "hive.target" in units


@pytest.mark.parametrize("name", sorted(set(MODULES) - {"default", "hive"}))
def test_each_module_can_be_imported_alone_and_twice(name: str, tmp_path: Path) -> None:
    found = evaluate(tmp_path, ON, name, name)
    assert found["config"]["systemd"]["targets"]["hive"]["wantedBy"] == ["multi-user.target"]
    assert failed(found["config"]) == []


def test_every_option_is_described_with_default_and_example(usual: Any) -> None:
    options = {option["name"]: option for option in usual["options"]}
    ours = {
        name: option
        for name, option in options.items()
        if not name.startswith("services.hyperhive.settings.")
        and not name.startswith("services.hyperhive.agents.<name>.")
    }
    assert {"services.hyperhive.enable", "services.hyperhive.dashboard.port"} <= set(ours)
    for name, option in ours.items():
        assert option["hasDefault"], name
        assert option["hasExample"] or name == "services.hyperhive.package", name
    for name, option in options.items():
        assert option["description"], name


def test_every_setting_has_an_option(usual: Any) -> None:
    """Also those of agents and of webhooks, in the form in which the file has them."""
    found = {option["name"] for option in usual["options"]}
    for name in (
        "broker.max_redeliveries",
        "lifecycle.resources.memory_max",
        "lifecycle.agents.<name>.resources.memory_max",
        "gateway.agents.<name>.egress",
        "ledger.budgets.agents.<name>.week_tokens",
        "ledger.prices.<name>.input",
        "notify.webhooks.*.url",
        "dashboard.users",
    ):
        assert f"services.hyperhive.settings.{name}" in found
    for section, field in Config.model_fields.items():
        for key in field.default.model_fields_set | set(type(field.default).model_fields):
            assert f"services.hyperhive.settings.{section}.{key}" in found


def test_the_kernels_limits_are_those_of_sysctl(usual: Any) -> None:
    lines = (ROOT / "services/hyperhive.sysctl.conf").read_text().splitlines()
    shipped = dict(line.split(" = ") for line in lines if not line.startswith("#"))
    found = usual["config"]["boot"]["kernel"]["sysctl"]
    assert {name: str(value) for name, value in found.items()} == shipped


def test_users_are_those_of_sysusers(usual: Any) -> None:
    """NixOS does not read sysusers.d of a package, so the modules repeat it."""
    lines = (ROOT / "services/hyperhive.sysusers.conf").read_text().splitlines()
    rows = [line.split()[:2] for line in lines if line and not line.startswith("#")]
    config = usual["config"]
    assert set(config["users"]["users"]) == {name for kind, name in rows if kind == "u"}
    assert set(config["users"]["groups"]) == {name for kind, name in rows if kind in "ug"}


def test_options_reach_what_they_are_for(tmp_path: Path) -> None:
    found = evaluate(
        tmp_path,
        with_hive("""
            operators = [ "ann" ];
            operator = { name = "Ann"; pronouns = "she/her"; };
            manager.enable = false;
            credentials = { default = "/run/keys/a"; agents.bob = "/run/keys/bob.cred"; };
            forge = {
              port = 8083;
              webhookSecretFile = "/run/keys/hook";
              tokenFiles = { alice = "/run/keys/alice"; bob = "/run/keys/b.cred"; };
            };
            dashboard = {
              address = "::";
              port = 8080;
              openFirewall = true;
              behindProxy = true;
              metricsTokenFile = "/run/keys/d";
            };
            notify.tokenFiles.phone = "/run/keys/b";
            telemetry.headerFiles.authorization = "/run/keys/c";
            projects.credentialFiles.website = "/run/keys/w";
            agents.alice = { settings.resources.memory_max = "8G"; budget.day = 5.0; };
            settings = {
              dashboard = { url = "https://hive.example.org"; trusted_proxies = [ "::1" ]; };
              notify.webhooks = [
                { name = "phone"; type = "ntfy"; url = "https://ntfy.sh/x"; }
              ];
              telemetry.endpoint = "http://127.0.0.1:4318";
              forge.url = "https://forge.example";
              forge.agents = { alice = { }; bob.account = "b"; };
            };
        """),
    )
    config = found["config"]
    assert failed(config) == []
    assert config["systemd"]["sockets"]["hive-dashboard"]["listenStreams"] == ["", "[::]:8080"]
    assert config["networking"]["firewall"]["allowedTCPPorts"] == [8080]
    assert config["users"]["groups"]["hive"]["members"] == ["ann"]
    services = config["systemd"]["services"]
    assert services["hive-declared-agents"]["environment"]["AGENTS"] == "alice"
    for name, credential in {
        "hive-notify": "notify_phone:/run/keys/b",
        "hive-telemetry": "telemetry_authorization:/run/keys/c",
        "hive-projects": "projects_website:/run/keys/w",
        "hive-dashboard": "dashboard_metrics:/run/keys/d",
    }.items():
        assert services[name]["serviceConfig"]["LoadCredential"] == [credential]
    # Links: a copy would keep an old key.
    rules = config["systemd"]["tmpfiles"]["rules"]
    assert sorted(rule for rule in rules if rule.startswith("L")) == [
        "L+ /etc/hyperhive/credentials/forge/agents/alice - - - - /run/keys/alice",
        "L+ /etc/hyperhive/credentials/forge/agents/bob.cred - - - - /run/keys/b.cred",
        "L+ /etc/hyperhive/credentials/forge/webhook - - - - /run/keys/hook",
        "L+ /etc/hyperhive/credentials/gateway/agents/bob.cred - - - - /run/keys/bob.cred",
        "L+ /etc/hyperhive/credentials/gateway/default - - - - /run/keys/a",
    ]
    # The services accept the file, and it says what the options say.
    read = Config.model_validate(found["file"])
    assert (read.operator.name, read.operator.pronouns) == ("Ann", "she/her")
    assert config["systemd"]["sockets"]["hive-forge"]["listenStreams"] == ["", "127.0.0.1:8083"]
    assert [read.forge.account(name) for name in ("alice", "bob", "carl")] == ["alice", "b", ""]
    assert read.dashboard.behind_proxy
    assert not read.lifecycle.create_manager
    assert read.lifecycle.agents["alice"].resources.memory_max == 8 * 2**30
    assert read.ledger.budgets.agents["alice"].day == 5.0
    assert read.notify.webhooks[0].name == "phone"


def test_a_file_of_defaults_is_the_default_configuration(usual: Any) -> None:
    """But for the systems of agents, which NixOS has."""
    found = Config.model_validate(usual["file"])
    assert found.lifecycle.backend == "nixos"
    assert found.lifecycle.toplevel.startswith("/")
    changed = {"backend": "nspawn", "toplevel": ""}
    lifecycle = found.lifecycle.model_copy(update=changed)
    assert found.model_copy(update={"lifecycle": lifecycle}) == Config()


CHANGES = {
    "approvals": "max_pending = 3;",
    "assistant": 'allowed_hosts = [ "hive.example.org" ];',
    "broker": "keep_days = 7;",
    "dashboard": "terminal = true;",
    "forge": "messages_per_hour = 9;",
    "gateway": "idle_timeout = 60;",
    "harness": "session_idle = 900;",
    "ledger": "keep_days = 7;",
    "lifecycle": "sleep_after = 60;",
    "nixos": "keep_builds = 1;",
    "notify": 'webhooks = [ { name = "phone"; type = "ntfy"; url = "https://ntfy.sh/x"; } ];',
    "operator": 'name = "Ann";',
    "telemetry": 'endpoint = "http://127.0.0.1:4318";',
}
"""A change of each section."""

STARTED_ANEW = {"build"}
"""The rooms whose services read the settings at each of their runs, and are not restarted."""


def readers() -> dict[str, set[str]]:
    """Return the services that read each section of the settings, as their code says."""
    found: dict[str, set[str]] = {section: set() for section in Config.model_fields}
    sections = "|".join(found)
    for main in (ROOT / "services").glob("*/__main__.py"):
        room = main.parent
        if "Config.load()" not in main.read_text() or room.name in STARTED_ANEW:
            continue
        files = [path for path in room.rglob("*.py") if "tests" not in path.parts]
        text = "\n".join(path.read_text() for path in files)
        [unit] = [path.stem for path in room.glob(f"hive-{room.name}*.service")]
        for section in re.findall(rf"\b_?[Cc]onfig(?:\.load\(\))?\.({sections})\b", text):
            found[section].add(unit)
    # Approvals needs to know the backend, and nothing else of lifecycle.
    found["lifecycle"].remove("hive-approvals")
    return found


def restarted(found: Any) -> dict[str, Any]:
    services = found["config"]["systemd"]["services"]
    return {name: one.get("restartTriggers") for name, one in services.items()}


@pytest.mark.parametrize("section", sorted(Config.model_fields))
def test_a_changed_setting_restarts_what_reads_it_and_only_that(
    section: str, usual: Any, home: Path
) -> None:
    before = restarted(usual)
    after = restarted(evaluate(home, with_hive(f"settings.{section}.{CHANGES[section]}")))
    assert {name for name in after if after[name] != before[name]} == readers()[section]


def test_another_backend_restarts_approvals_and_lifecycle(usual: Any, home: Path) -> None:
    before, after = restarted(usual), restarted(evaluate(home, with_hive('backend = "nspawn";')))
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"hive-approvals", "hive-lifecycle"}


def test_no_update_of_the_host_restarts_a_container(usual: Any) -> None:
    services = usual["config"]["systemd"]["services"]
    for name in ("systemd-nspawn@", "hive-agent@", "hive-build@"):
        assert services[name]["restartIfChanged"] is False


@pytest.mark.parametrize(("settings", "sentence"), IMPOSSIBLE)
def test_settings_that_cannot_work_are_refused_with_a_sentence(
    settings: str, sentence: str, tmp_path: Path
) -> None:
    [message] = failed(evaluate(tmp_path, with_hive(settings))["config"])
    assert sentence in message
    assert message.endswith((".", "too."))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ('systemd.package = lib.mkForce { version = "251"; };', "needs systemd 252 or newer"),
        ("nix.enable = false;", "Turn nix.enable on."),
        ("services.hyperhive.systems = lib.mkForce { };", "systems.default is not set"),
    ],
)
def test_a_host_that_cannot_run_agents_is_refused(
    settings: str, sentence: str, tmp_path: Path
) -> None:
    host = f"let lib = import {STAND_IN}/lib.nix; in {{ imports = [ {ON} ]; {settings} }}"
    [message] = failed(evaluate(tmp_path, host)["config"])
    assert sentence in message


def test_an_etc_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    overlay = "{ enable = true; mutable = %s; }"
    for mutable, sentences in (("true", 0), ("false", 1)):
        settings = f"""{{
          imports = [ {ON} ];
          system.etc.overlay = {overlay % mutable};
        }}"""
        found = failed(evaluate(tmp_path, settings)["config"])
        assert len([one for one in found if "system.etc.overlay.mutable on" in one]) == sentences


@pytest.mark.parametrize(
    "option",
    [
        "credentials.default",
        "credentials.agents.alice",
        "apiKeyFile",
        "dashboard.metricsTokenFile",
        "dashboard.proxyTokenFile",
        "notify.tokenFiles.phone",
        "telemetry.headerFiles.authorization",
    ],
)
def test_a_secret_in_the_store_is_refused(option: str, tmp_path: Path) -> None:
    key = tmp_path / "store" / "key"
    messages = failed(evaluate(tmp_path, with_hive(f'{option} = "{key}";'))["config"])
    sentence = "/nix/store/key is in the Nix store, where everybody can read it"
    # Two of them are also refused because nothing uses them here.
    assert [sentence in message for message in messages].count(True) == 1


@pytest.mark.parametrize(("settings", "said"), MISTYPED)
def test_a_value_of_another_type_is_refused(settings: str, said: str, tmp_path: Path) -> None:
    assert said in refusal(tmp_path, with_hive(settings))


HIVECTL = """\
#!/bin/sh
echo "$*" >> calls
case "$1 $2" in
"status alice") exit 0 ;;
"status bob") exit 3 ;;
"status carl") exit 5 ;;
esac
"""


def test_only_declared_agents_that_do_not_exist_are_created(tmp_path: Path) -> None:
    """Run the script of the unit, with a hivectl that knows alice and cannot tell about carl."""
    agents = "agents = { alice = { }; bob = { }; carl = { }; dora.create = false; };"
    config = evaluate(tmp_path, with_hive(agents))["config"]
    unit = config["systemd"]["services"]["hive-declared-agents"]
    (tmp_path / "hivectl").write_text(HIVECTL)
    (tmp_path / "hivectl").chmod(0o755)
    done = subprocess.run(
        ["bash", "-e", "-c", unit["script"]],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", **unit["environment"]},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "The state of carl could not be read (exit status 5)." in done.stderr
    assert (tmp_path / "calls").read_text().splitlines() == [
        *("status alice", "status bob", "spawn --timeout 900 bob", "status carl")
    ]


def test_the_settings_are_checked_by_the_services_themselves(tmp_path: Path) -> None:
    """The script that the modules run when the system is built."""
    file = tmp_path / "hyperhive.toml"
    file.write_text("[broker]\nmax_redeliverys = 3\n")
    script = (ROOT / "nix/modules/hive.nix").read_text()
    [arguments] = re.findall(r"bin/python (-P -m services\.config)", script)
    done = subprocess.run(
        [sys.executable, "-B", *arguments.split()],
        env={"HYPERHIVE_CONFIG": str(file), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "broker.max_redeliverys is not a known key" in done.stderr


READ_BY_NIX = ("services/dashboard/vendor.toml",)
"""The files among the sources that the expressions read."""


@pytest.fixture(scope="module")
def flake(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The flake, locked to the stand-in, with empty directories for the sources of the package."""
    home = tmp_path_factory.mktemp("flake")
    copied = home / "hyperhive"
    copied.mkdir()
    for name in ("flake.nix", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copied)
    shutil.copytree(ROOT / "nix", copied / "nix")
    for name in ("docs", "wire", "services", "harness", "hivectl", "man"):
        (copied / name).mkdir()
        (copied / name / "file").touch()
    for name in READ_BY_NIX:
        (copied / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copied / name)
    inputs = ("nixpkgs", "nixpkgs-unstable")
    chosen = [word for name in inputs for word in ("--override-input", name, f"path:{STAND_IN}")]
    run("nix", "flake", "lock", f"path:{copied}", *chosen, home=home)
    return f"path:{copied}"


def with_flake(expression: str, flake: str, home: Path) -> Any:
    """Return the value of an expression of Nix about `flake`."""
    text = (
        f'let flake = builtins.getFlake "{flake}"; lib = import {STAND_IN}/lib.nix; in {expression}'
    )
    return value(run("nix", "eval", "--impure", "--json", "--expr", text, home=home), home)


def test_the_flake_passes_its_check_for_both_systems(flake: str, tmp_path: Path) -> None:
    said = run("nix", "flake", "check", "--help", home=tmp_path, check=False).stdout
    every = ["--all-systems"] if "--all-systems" in said else []
    run("nix", "flake", "check", flake, *every, home=tmp_path)
    shown = run("nix", "flake", "show", "--json", flake, *every, home=tmp_path).stdout
    outputs = json.loads(shown)
    for system in ("x86_64-linux", "aarch64-linux"):
        assert set(outputs["packages"][system]) == {"default", "hyperhive", "harness"}
        assert set(outputs["checks"][system]) == {"format", "host", "lint", "package", "unit"}
        assert set(outputs["devShells"][system]) == {"default"}
        assert outputs["formatter"][system]["name"] == "treefmt"
    assert set(outputs["nixosModules"]) == set(MODULES) - {"hive"} | {"default"}
    assert set(outputs["overlays"]) == {"default"}
    assert set(outputs["templates"]) == {"default"}


@pytest.mark.parametrize("system", ["x86_64-linux", "aarch64-linux"])
def test_each_check_is_a_derivation(system: str, flake: str, tmp_path: Path) -> None:
    """`nix flake check` builds them; here nothing of them is run."""
    expression = f"""
      let checks = flake.checks.{system};
      in lib.mapAttrs (_: check: check.drvPath) (removeAttrs checks [ "host" ]) // {{
        host = checks.host.drvPath;
        formatter = flake.formatter.{system}.drvPath;
        scripts = lib.mapAttrs (_: check: check.script) {{ inherit (checks) format lint unit; }};
      }}
    """
    found = with_flake(expression, flake, tmp_path)
    scripts = found.pop("scripts")
    assert set(found) == {"format", "formatter", "host", "lint", "package", "unit"}
    assert all(path.endswith(".drv") for path in found.values())
    for script in scripts.values():
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)
        assert script.rstrip().endswith("touch $out")


def test_the_host_in_a_vm_goes_through_the_whole_errand(flake: str, tmp_path: Path) -> None:
    expression = """
      let inherit (flake.checks.x86_64-linux) host; config = host.nodes.host;
      in {
        script = host.testScript;
        failed = map (one: one.message) (lib.filter (one: !one.assertion) config.assertions);
        model = config.systemd.services.hive-model.serviceConfig.ExecStart;
        file = (import %s/nix/triggers.nix { inherit lib; }).withoutNull
          config.services.hyperhive.settings;
        paths = map toString config.virtualisation.additionalPaths;
      }
    """
    found = with_flake(expression % ROOT, flake, tmp_path)
    assert found["failed"] == []
    assert "-m sandbox.model" in found["model"]
    assert Config.model_validate(found["file"]).harness.scripted_model_url
    tree = ast.parse(found["script"])
    builtin = set(vars(builtins)) | {"host", "subtest"}  # the last two are the test driver's
    named = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    defined = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and _sets(node)}
    defined |= {one.name for one in ast.walk(tree) if isinstance(one, ast.alias | ast.FunctionDef)}
    defined |= {one.arg for one in ast.walk(tree) if isinstance(one, ast.arg)}
    assert named - defined - builtin == set()
    for step in ("hivectl pending", "hivectl diff", "hivectl approve", "hivectl deploy-log"):
        assert step in found["script"]
    # The VM cannot build: what it makes of the proposal must be in its store.
    [system] = found["paths"]
    assert system in found["script"]


def _sets(name: ast.Name) -> bool:
    return isinstance(name.ctx, ast.Store)


HOSTS = {
    "alone": "[ flake.nixosModules.default ]",
    "twice": "[ flake.nixosModules.default flake.nixosModules.default flake.nixosModules.broker ]",
    "a part": "[ flake.nixosModules.broker flake.nixosModules.broker ]",
}


@pytest.mark.parametrize("modules", HOSTS.values(), ids=HOSTS.keys())
def test_a_host_needs_no_overlay_and_no_unfree_setting(
    modules: str, flake: str, tmp_path: Path
) -> None:
    expression = f"""
      let
        host = lib.nixosSystem {{ modules = {modules} ++ [ {ON} ]; }};
        package = host.config.services.hyperhive.package;
      in {{
        own = package.drvPath == flake.packages.x86_64-linux.hyperhive.drvPath;
        claude = package.claude.name;
        wanted = host.config.systemd.services.hive-broker.wantedBy;
      }}
    """
    assert with_flake(expression, flake, tmp_path) == {
        "own": True,
        "claude": "claude-code-2.1.300",
        "wanted": ["hive.target"],
    }


def test_agents_have_systems_of_the_flake(flake: str, tmp_path: Path) -> None:
    expression = f"""
      let
        host = lib.nixosSystem {{ modules = [ flake.nixosModules.default {ON} ]; }};
        of = name: flake.lib.agentSystem {{ inherit name; system = "x86_64-linux"; }};
      in {{
        file = (import {ROOT}/nix/triggers.nix {{ inherit lib; }}).withoutNull
          host.config.services.hyperhive.settings;
        default = "${{(of null).config.system.build.toplevel}}";
        name = (of "alice").config.networking.hostName;
        path = map (one: "${{one}}") (of "alice").config.systemd.services.hive-harness.path;
        build = map (one: one.name or one) host.config.systemd.services."hive-build@".path;
        roots = host.config.systemd.tmpfiles.rules;
      }}
    """
    found = with_flake(expression, flake, tmp_path)
    read = Config.model_validate(found["file"])
    assert read.lifecycle.backend == "nixos"
    assert read.lifecycle.toplevel == found["default"]
    assert set(read.lifecycle.agents) == {"manager"}
    assert found["name"] == "alice"
    assert found["path"][0] == "/run/current-system/sw"
    assert found["build"] == ["git-1", "nix-1"]
    assert found["roots"] == [
        f"d {path} 0755 root root"
        for path in ("/nix/var/nix/gcroots/hyperhive", "/run/systemd/nspawn")
    ]


@pytest.mark.parametrize("name", ["hyperhive", "hive"])
def test_an_mcp_server_with_a_name_of_the_hives_own_is_refused(
    name: str, flake: str, tmp_path: Path
) -> None:
    def failures(server: str) -> Any:
        agent = f'{{ hyperhive.extraMcpServers.{server}.command = "/bin/server"; }}'
        expression = f"""
          map (one: one.message) (lib.filter (one: !one.assertion) (flake.lib.agentSystem {{
            system = "x86_64-linux";
            agent.nixosModules.default = {agent};
          }}).config.assertions)
        """
        return with_flake(expression, flake, tmp_path)

    assert failures("docs") == []
    [message] = failures(name)
    assert "Give the server another name." in message


def test_a_system_is_the_same_in_meta_as_in_the_configuration_of_the_host(
    flake: str, tmp_path: Path
) -> None:
    """A host gives its inputs to the agents, and Nix takes the flake that is made from them.

    The host in a VM relies on it: it has the system of the errand, and cannot build another.
    """
    errand = ROOT / "nix/tests/errand.nix"
    expression = f"""
      let host = lib.nixosSystem {{ modules = [ flake.nixosModules.default {ON} ]; }};
      in {{
        inputs = host.config.services.hyperhive.settings.nixos.inputs;
        system = (flake.lib.agentSystem {{
          name = "alice";
          system = "x86_64-linux";
          agent.nixosModules.default = import {errand};
        }}).config.system.build.toplevel.drvPath;
      }}
    """
    found = with_flake(expression, flake, tmp_path)
    config = NixosConfig.model_validate({"inputs": found["inputs"]})
    assert config.inputs.keys() == {"hyperhive", "nixpkgs", "nixpkgs-unstable"}
    agents = {"alice": Locked(_configuration(tmp_path / "alice", errand), flakelock.EMPTY)}
    meta = tmp_path / "meta"
    meta.mkdir()
    # The store of this test is below `tmp_path`.
    lock = metaflake.lock(config, tmp_path, agents)
    for name, text in {
        metaflake.FLAKE: metaflake.flake(config, tmp_path, agents),
        flakelock.NAME: lock,
    }.items():
        (meta / name).write_text(text.replace("/nix/store", str(tmp_path / "store")))
    attribute = f"path:{meta}#{metaflake.attribute('alice')}.drvPath"
    command = ("nix", "eval", "--json", "--no-update-lock-file", attribute)
    assert value(run(*command, home=tmp_path), tmp_path) == found["system"]


def _configuration(repository: Path, module: Path) -> str:
    """Make the repository of an agent; return its commit."""
    repository.mkdir()
    for name, text in {**metaflake.BOILERPLATE, metaflake.MODULE: module.read_text()}.items():
        (repository / name).write_text(text)
    author = ("-c", "user.name=a", "-c", "user.email=a@b.invalid")
    for command in (
        ("init", "--quiet", "--initial-branch=main"),
        ("add", "--all"),
        (*author, "commit", "--quiet", "--message=x"),
    ):
        subprocess.run(["git", *command], cwd=repository, check=True)
    asked = ["git", "rev-parse", "HEAD"]
    return subprocess.run(
        asked, cwd=repository, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_lifecycle_may_write_where_the_drop_in_says(tmp_path: Path) -> None:
    text = (ROOT / "services/lifecycle/hive-lifecycle-nixos.conf").read_text()
    lines = [line for line in text.splitlines() if line.startswith("ReadWritePaths=")]
    paths = [path for line in lines for path in line.partition("=")[2].split()]
    units = evaluate(tmp_path, with_hive(""))["config"]["systemd"]["services"]
    assert units["hive-lifecycle"]["serviceConfig"]["ReadWritePaths"] == paths


def test_builds_with_nix_are_limited_as_the_drop_in_says(tmp_path: Path) -> None:
    def host(sandbox: str, settings: str = "") -> Any:
        nix = f"nix.settings.sandbox = {sandbox};"
        hive = with_hive(settings)
        return evaluate(tmp_path, hive.replace("{ services", f"{{ {nix} services", 1))["config"]

    text = (ROOT / "services/build/hive-build-nixos.conf").read_text()
    lines = [line for line in text.splitlines() if "=" in line and not line.startswith("#")]
    limits = dict(line.split("=", 1) for line in lines)
    safe, unsafe = host("true"), host("false")
    assert safe["systemd"]["services"]["hive-build@"]["serviceConfig"] == limits
    more = host("true", 'builds.memoryMax = "8G";')["systemd"]["services"]["hive-build@"]
    assert more["serviceConfig"] == {**limits, "MemoryMax": "8G"}
    assert all(one["assertion"] for one in safe["assertions"])
    [failed] = [one["message"] for one in unsafe["assertions"] if not one["assertion"]]
    assert "nix.settings.sandbox must keep from the host" in failed


def test_the_overlay_gives_the_packages_to_others(flake: str, tmp_path: Path) -> None:
    expression = f"""
      let
        packages = import {STAND_IN} {{
          system = "aarch64-linux";
          overlays = [ flake.overlays.default ];
        }};
      in map (name: packages.${{name}}.name) [ "hyperhive" "hyperhive-harness" "claude-code" ]
    """
    assert with_flake(expression, flake, tmp_path) == [
        *("hyperhive-0.1.0", "hyperhive-harness-0.1.0", "claude-code-2.1.300")
    ]


@pytest.mark.parametrize(
    ("library", "version", "sentence"),
    [
        (
            "claude-agent-sdk",
            '(python.pkgs.claude-agent-sdk // { version = "0.2.152"; })',
            "hyperhive needs claude-agent-sdk 0.2.165 or newer, because",
        ),
        ("webauthn", "null", "hyperhive needs the Python library webauthn, which this nixpkgs"),
    ],
)
def test_a_nixpkgs_that_is_too_old_is_refused_with_a_sentence(
    library: str, version: str, sentence: str, tmp_path: Path
) -> None:
    expression = f"""
      let
        packages = import {STAND_IN} {{ system = "x86_64-linux"; }};
        inherit (packages) python;
        python313 = python // {{ pkgs = python.pkgs // {{ {library} = {version}; }}; }};
      in (packages.callPackage {ROOT}/nix/package.nix {{
        inherit python313;
        claude-code = packages.hello;
      }}).drvPath
    """
    done = run("nix-instantiate", "--eval", "--expr", expression, home=tmp_path, check=False)
    assert done.returncode != 0
    assert sentence in done.stderr
    assert "Update the input nixpkgs." in done.stderr


def test_without_a_new_mcp_the_hive_has_no_endpoint_for_assistants(tmp_path: Path) -> None:
    """nixpkgs may have an older one for long, and the rest of the hive does not need it."""
    package = "{ services.hyperhive.package = (import %s { }).hello // { hasAssistant = %s; }; }"
    old, new = (package % (STAND_IN, value) for value in ("false", "true"))
    off = "{ services.hyperhive.assistant.enable = lib.mkForce true; }"
    for given, more, units, sentences in (
        (new, "{ }", {"hive-assistant.socket"}, []),
        (old, "{ }", set(), []),
        (old, off, {"hive-assistant.socket"}, ["services.hyperhive.assistant needs mcp 2"]),
    ):
        settings = f"""
          let lib = import {STAND_IN}/lib.nix; in {{
            imports = [ {given} {more} {ON} ];
          }}
        """
        config = evaluate(tmp_path, settings)["config"]
        assert {unit for unit in wanted(config) if "assistant" in unit} == units
        assert [one[: len(text)] for one, text in zip(failed(config), sentences, strict=True)] == (
            sentences
        )


def test_the_bounds_of_the_package_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    package = (ROOT / "nix/package.nix").read_text()
    bounds = dict(re.findall(r'([\w-]+) = \{\s+atLeast = "([\d.]+)"', package))
    for requirement in {*extras["host"], *extras["harness"]}:
        name, _, bound = requirement.partition(">=")
        name = name.split("==")[0].strip().lower()
        assert f'"{name}"' in package, name
        assert bounds.get(name, "") == bound, name
    assert f'version = "{project["version"]}"' in package
