"""The NixOS systems of agents, evaluated with a stand-in for nixpkgs."""

import json
from pathlib import Path
from typing import Any

from services.lifecycle.backends.toplevel import GIVEN
from tests.nix import needs_nix
from tests.test_nix import flake, with_flake

__all__ = ["flake"]

pytestmark = needs_nix

AGENT = """{
  lib.flakeInputs.docs = "an input";
  nixosModules.default =
    { flakeInputs, ... }:
    {
      hyperhive.extraMcpServers = { SERVERS };
      environment.variables.DOCS = flakeInputs.docs;
    };
}"""
SERVER = 'docs = { command = "/bin/docs"; args = [ "--stdio" ]; env.LANG = "C"; }'


def system(flake: str, home: Path, wanted: str, arguments: str) -> Any:
    """Return a part of the configuration of an agent's system."""
    agent = f'(flake.lib.agentSystem {{ system = "x86_64-linux"; {arguments} }})'
    return with_flake(f"let inherit ({agent}) config; in {wanted}", flake, home)


def test_a_system_leads_to_the_files_of_lifecycle(flake: str, tmp_path: Path) -> None:
    wanted = """{
      etc = lib.present config.environment.etc;
      boot = lib.present config.boot;
      git = config.programs.git.config.include.path;
      generator = config.systemd.generators.hive-etc.drvPath or "a text";
      target = config.systemd.targets.hive-container.wants;
      path = map toString config.systemd.services.hive-harness.path;
      name = config.networking.hostName;
      hosts = config.networking.hosts."127.0.0.1";
    }"""
    found = system(flake, tmp_path, wanted, 'name = "alice";')
    given = ("hyperhive/harness.json", "machine-id", "npmrc", "resolv.conf")
    for file in (*given, "systemd/system.conf.d/hyperhive.conf"):
        assert found["etc"][file]["source"] == f"{GIVEN}/{file}"
    assert found["boot"] == {"isNspawnContainer": True}
    assert found["git"] == f"{GIVEN}/gitconfig"
    assert found["target"] == ["multi-user.target"]
    programs = "\n".join(found["path"])
    assert found["path"][0] == "/run/current-system/sw"
    for program in ("claude", "socat", "git", "bash"):
        assert program in programs
    assert (found["name"], found["hosts"]) == ("alice", ["alice"])


def test_the_module_of_an_agent_is_added_with_its_inputs(flake: str, tmp_path: Path) -> None:
    wanted = """{
      servers = config.environment.etc."hyperhive/extra-mcp.json".text;
      docs = config.environment.variables.DOCS;
      failed = map (one: one.message) (lib.filter (one: !one.assertion) config.assertions);
    }"""
    agent = AGENT.replace("SERVERS", f"{SERVER};")
    found = system(flake, tmp_path, wanted, f'name = "alice"; agent = {agent};')
    assert json.loads(found["servers"]) == {
        "docs": {
            "command": "/bin/docs",
            "args": ["--stdio"],
            "env": {"LANG": "C"},
            "allowedTools": ["*"],
        }
    }
    assert (found["docs"], found["failed"]) == ("an input", [])


def test_the_manager_has_nix_and_agents_have_not(flake: str, tmp_path: Path) -> None:
    wanted = "map (package: package.name) config.environment.systemPackages"
    manager = system(flake, tmp_path, wanted, "manager = true;")
    agent = system(flake, tmp_path, wanted, "manager = false;")
    assert ("nix-1" in manager, "nix-1" in agent) == (True, False)
