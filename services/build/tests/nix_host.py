"""A host with a Nix store of its own, in which a stand-in for Hyperhive's flake makes systems."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from services import metaflake
from services.build import nix
from services.build.builder import Builder
from services.build.nix import Nix
from services.config import Config, FlakeInput, LifecycleConfig, NixosConfig

HYPERHIVE = """{
  inputs.nixpkgs.url = "path:/nowhere";
  outputs = { self, nixpkgs }: {
    lib.agentSystem = { name, manager, system, agent }: {
      config.system.build.toplevel = derivation {
        name = "nixos-system-${name}";
        inherit system;
        builder = "/bin/sh";
        args = [ "-c" ''
          echo "the first line"; echo "the second line" >&2
          eval "$before"
          /bin/mkdir "$out"; echo "$text" > "$out/init"
        '' ];
        before = (agent.nixosModules.default { flakeInputs = { }; }).before or "";
        text =
          let module = agent.nixosModules.default { flakeInputs = agent.lib.flakeInputs; };
          in "${module.text} VERSION ${nixpkgs.lib.version}";
      };
    };
  };
}
"""
NIX_CONFIG = """
substituters =
sandbox = false
build-users-group =
experimental-features = nix-command flakes
fsync-metadata = false
"""


class Host:
    """A host with a Nix store of its own, and the repository of alice."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.applied, self.builds, self.work = (folder / n for n in ("applied", "builds", "work"))
        for path in (self.applied, self.builds, self.work):
            path.mkdir()
        self.git("init", "-q", "--bare", str(self.applied / "alice"))
        self.git("init", "-q", "-b", "main", str(self.work))
        self.inputs = {
            "hyperhive": self.add("hyperhive", HYPERHIVE.replace("VERSION", "1")),
            "nixpkgs": self.add("nixpkgs", '{ outputs = _: { lib.version = "26"; }; }'),
        }

    def run(self, *command: str) -> str:
        environment = {**os.environ, "HOME": str(self.folder), "NIX_CONFIG": NIX_CONFIG}
        environment["GIT_CONFIG_GLOBAL"] = str(Path(nix.__file__).with_name("gitconfig"))
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def git(self, *arguments: str) -> str:
        return self.run(
            "git",
            "-c",
            "core.fsync=none",
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@b.invalid",
            *arguments,
        )

    def add(self, name: str, flake: str) -> FlakeInput:
        """Put a flake into the store, as a host has its inputs there."""
        source = self.folder / "sources" / name
        shutil.rmtree(source, ignore_errors=True)
        source.mkdir(parents=True)
        (source / "flake.nix").write_text(flake)
        path = self.run("nix-store", "--add-fixed", "--recursive", "sha256", str(source))
        root = self.folder / f"root-{Path(path).name}"
        self.run("nix-store", "--realise", path, "--add-root", str(root), "--indirect")
        return FlakeInput(path=path, nar_hash=self.run("nix", "hash", "path", path))

    def commit(self, module: str, agent: str = "alice", **files: str) -> str:
        """Commit a configuration whose agent.nix is `module`."""
        everything = {**metaflake.BOILERPLATE, "agent.nix": module, "agent.toml": "", **files}
        for name, text in everything.items():
            (self.work / name).write_text(text)
        self.git("-C", str(self.work), "add", "--all")
        self.git("-C", str(self.work), "commit", "-q", "--allow-empty", "-m", "x")
        commit = self.git("-C", str(self.work), "rev-parse", "HEAD")
        tag = f"HEAD:refs/tags/proposal/{commit}"
        self.git("-C", str(self.work), "push", "-q", str(self.applied / agent), tag)
        return commit

    @property
    def config(self) -> Config:
        return Config(
            lifecycle=LifecycleConfig(backend="nixos"),
            nixos=NixosConfig(inputs=self.inputs, keep_builds=1, keep_days=30),
        )

    def build(self, commit: str, agent: str = "alice") -> Path:
        systems = Nix(self.applied, self.folder / "cache", self.config.nixos)
        packages: None = None
        Builder(self.applied, self.builds, packages, self.config, systems).build(agent, commit)  # type: ignore[arg-type]
        return self.builds / agent / commit

    def collect(self) -> None:
        """Let Nix remove everything that no link keeps."""
        self.run("nix-store", "--gc")


def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """Make a host, to which the variables of Nix lead."""
    for name in ("store", "state", "log"):
        monkeypatch.setenv(f"NIX_{name.upper()}_DIR", str(tmp_path / "nix" / name))
    conf = tmp_path / "conf"
    conf.mkdir()
    (conf / "nix.conf").write_text(NIX_CONFIG)
    monkeypatch.setenv("NIX_CONF_DIR", str(conf))
    return Host(tmp_path)


def module(text: str) -> str:
    return f"{{ flakeInputs, ... }}: {{ text = {text}; }}\n"
