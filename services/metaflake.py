"""The hive as a flake: an input and a NixOS system for each agent.

    text = metaflake.flake(config.nixos, applied, ["alice"])
    lock = metaflake.lock(config.nixos, applied, {"alice": Locked(commit, agent_lock)})

Both are made from the configuration of the host and from commits alone, so Nix need not run where
the commit of an agent has not been confined yet. `nix flake lock` finds nothing to change in them.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from services import flakelock
from services.config import FlakeInput, NixosConfig
from services.flakelock import Lock
from wire import names

FLAKE: Final = "flake.nix"
MODULE: Final = "agent.nix"
HYPERHIVE: Final = "hyperhive"
"""The input that makes systems from the agents' modules."""

AGENT_FLAKE: Final = """\
# This file belongs to the hive: the configuration of the agent is in agent.nix and agent.toml.
{
  outputs = inputs: {
    nixosModules.default = import ./agent.nix;
    lib.flakeInputs = builtins.removeAttrs inputs [ "self" ];
  };
}
"""
"""The flake.nix of an agent."""

AGENT_MODULE: Final = """\
# The NixOS module of this agent. docs/nixos.md of Hyperhive describes what can be set.
{ pkgs, ... }:

{
  # Programs in its container.
  #environment.systemPackages = [ pkgs.jq ];
}
"""
"""The agent.nix that an agent begins with."""

BOILERPLATE: Final = {
    MODULE: AGENT_MODULE,
    FLAKE: AGENT_FLAKE,
    flakelock.NAME: json.dumps(flakelock.EMPTY.model_dump(exclude_defaults=True), indent=2) + "\n",
}
"""The files of the flake that an agent begins with."""

_HEAD: Final = """\
# Hyperhive writes this file: what each agent runs. Each commit is one deploy.
"""


class Locked(NamedTuple):
    """The commit of an agent, and the lock in it."""

    commit: str
    lock: Lock


def attribute(agent: str) -> str:
    """Return the attribute of the flake that is the system of an agent."""
    return f'nixosConfigurations."{agent}".config.system.build.toplevel'


def stamp(config: NixosConfig) -> str:
    """Return a digest of everything but commits that the systems are made from."""
    parts = config.model_dump(mode="json", include={"system", "inputs"})
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def flake(config: NixosConfig, applied: Path, agents: Iterable[str]) -> str:
    """Return the flake.nix.

    Args:
        config: the inputs of all agents.
        applied: the directory with the repositories of the agents.
        agents: the agents.
    """
    agents = sorted(agents)
    inputs = [_attributes(name, _path(found)) for name, found in sorted(config.inputs.items())]
    inputs += [_attributes(_input(agent), _repository(applied, agent)) for agent in agents]
    follows = [
        f'    "{HYPERHIVE}".inputs."{name}".follows = "{name}";\n'
        for name in sorted(config.inputs.keys() - {HYPERHIVE})
    ]
    systems = [_system(config, agent) for agent in agents]
    return "".join(
        [
            _HEAD,
            "{\n  inputs = {\n",
            *inputs,
            *follows,
            "  };\n\n  outputs = inputs: {\n    nixosConfigurations = {\n",
            *systems,
            "    };\n  };\n}\n",
        ]
    )


def lock(config: NixosConfig, applied: Path, agents: Mapping[str, Locked]) -> str:
    """Return the flake.lock for `flake`, in which each agent has its commit."""
    others = sorted(config.inputs.keys() - {HYPERHIVE})
    nodes: dict[str, Any] = {}
    for name, found in sorted(config.inputs.items()):
        pins = {"narHash": found.nar_hash, "lastModified": found.last_modified}
        nodes[name] = {"locked": {**_path(found), **pins}, "original": _path(found)}
    if HYPERHIVE in nodes and others:
        nodes[HYPERHIVE]["inputs"] = {name: [name] for name in others}
    for agent, locked in sorted(agents.items()):
        nodes.update(_nodes(applied, agent, locked))
    nodes["root"] = {
        "inputs": {name: name for name in (*sorted(config.inputs), *map(_input, sorted(agents)))}
    }
    return (
        json.dumps({"nodes": nodes, "root": "root", "version": flakelock.VERSION}, indent=2) + "\n"
    )


def _nodes(applied: Path, agent: str, locked: Locked) -> dict[str, Any]:
    """Return the node of an agent, and the nodes of its lock under keys of their own."""
    prefix, source = _input(agent), _repository(applied, agent)
    own, root = locked.lock, locked.lock.root

    def inputs(key: str) -> dict[str, Any]:
        # A path begins at the root of the hive's lock.
        found = {
            name: f"{prefix}/{to}" if isinstance(to, str) else [prefix, *to]
            for name, to in own.nodes[key].inputs.items()
        }
        return {"inputs": found} if found else {}

    nodes = {
        prefix: {
            "locked": {**source, "rev": locked.commit},
            "original": source,
            **inputs(root),
        }
    }
    for key, node in own.nodes.items():
        if key != root:
            kept = node.model_dump(mode="json", exclude={"inputs"}, exclude_defaults=True)
            nodes[f"{prefix}/{key}"] = {**kept, **inputs(key)}
    return nodes


def _input(agent: str) -> str:
    return f"agent-{agent}"


def _path(found: FlakeInput) -> dict[str, Any]:
    return {"type": "path", "path": found.path}


def _repository(applied: Path, agent: str) -> dict[str, Any]:
    # main moves on success only: until then, a tag has the commit.
    return {"type": "git", "url": f"file://{applied}/{agent}", "ref": "main", "allRefs": True}


def _attributes(name: str, source: Mapping[str, Any]) -> str:
    values = " ".join(f"{key} = {json.dumps(value)};" for key, value in source.items())
    return f'    "{name}" = {{ {values} }};\n'


def _system(config: NixosConfig, agent: str) -> str:
    manager = json.dumps(agent == names.MANAGER)
    return (
        f'      "{agent}" = inputs."{HYPERHIVE}".lib.agentSystem {{\n'
        f'        name = "{agent}";\n'
        f"        manager = {manager};\n"
        f'        system = "{config.system}";\n'
        f'        agent = inputs."{_input(agent)}";\n'
        "      };\n"
    )
