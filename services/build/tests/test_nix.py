"""NixOS systems of agents, built by the real Nix from a small stand-in for Hyperhive's flake."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from services import metaflake
from services.build.builder import BuildError
from services.build.nix import _reason
from services.build.tests.nix_host import HYPERHIVE, Host, made, module

pytestmark = pytest.mark.skipif(not shutil.which("nix"), reason="needs Nix")


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return made(tmp_path, monkeypatch)


def test_a_commit_becomes_a_system(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    place = host.build(commit := host.commit(module('"hello"')))
    assert (place / "system").is_symlink()
    assert (place / "system/init").read_text() == "hello 1 26\n"
    said = capsys.readouterr().out.splitlines()
    assert "nixos-system-alice> the first line" in said
    assert "nixos-system-alice> the second line" in said
    assert said[-1] == f"{commit} is built"
    host.build(commit)
    assert capsys.readouterr().out == f"{commit} is built already\n"


def test_nothing_that_is_kept_is_collected(host: Host) -> None:
    """The links keep the systems; a removed build gives its system free."""
    places = [host.build(host.commit(module(f'"{number}"'))) for number in range(3)]
    systems = [place.joinpath("system").resolve() for place in places]
    host.collect()
    assert not places[0].exists()
    assert [system.exists() for system in systems] == [False, True, True]


def test_the_inputs_of_the_host_make_another_system(host: Host) -> None:
    place = host.build(commit := host.commit(module('"hello"')))
    before = place.joinpath("system").resolve()
    host.inputs["hyperhive"] = host.add("hyperhive", HYPERHIVE.replace("VERSION", "2"))
    assert host.build(commit) == place
    assert (place / "system/init").read_text() == "hello 2 26\n"
    host.collect()
    assert (place / "system/init").exists()
    assert not before.exists()


def test_a_collected_system_is_built_again(host: Host) -> None:
    place = host.build(commit := host.commit(module('"hello"')))
    system = place.joinpath("system").resolve()
    (host.builds / "alice/.system").unlink()
    (place / "system").unlink()
    host.collect()
    (place / "system").symlink_to(system)
    host.build(commit)
    assert (place / "system/init").read_text() == "hello 1 26\n"


def test_old_builds_are_removed_by_age(host: Host) -> None:
    old, older = (host.build(host.commit(module(f'"{number}"'))) for number in range(2))
    for place in (old, older):
        past = time.time() - 31 * 86400
        os.utime(place, (past, past))
    new = host.build(host.commit(module('"new"')))
    assert [place.exists() for place in (old, older, new)] == [False, False, True]


def test_a_commit_without_a_flake_has_no_system(host: Host) -> None:
    (host.work / "agent.toml").write_text('model = "m"\n')
    host.git("-C", str(host.work), "add", "agent.toml")
    host.git("-C", str(host.work), "commit", "-q", "-m", "x")
    host.git("-C", str(host.work), "push", "-q", str(host.applied / "alice"), "HEAD:refs/tags/x")
    place = host.build(host.git("-C", str(host.work), "rev-parse", "HEAD"))
    assert sorted(path.name for path in place.iterdir()) == ["agent.toml", "inputs"]


SECRET = "/host/secret"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A host for tests that leave nothing behind."""
    with pytest.MonkeyPatch.context() as patch:
        yield made(tmp_path_factory.mktemp("host"), patch)


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("builtins.nope", "attribute 'nope' missing"),
        ('throw "on purpose"', "on purpose"),
        ('builtins.readFile "SECRET"', "access to absolute path"),
        ('builtins.readFile "${/. + "SECRET"}"', "access to absolute path"),
        ("builtins.readFile ./link", "access to (canonical|absolute) path"),
        ('builtins.path { path = "SECRET"; }', "access to absolute path"),
        ('builtins.fetchurl { url = "file://SECRET"; sha256 = ZEROS; }', "access to absolute path"),
        ('builtins.fetchurl { url = "http://127.0.0.1/"; sha256 = ZEROS; }', "access to URI"),
        # Later versions list the inputs.
        ("builtins.readDir builtins.storeDir", 'access to absolute path|-source = "directory"; }'),
        ("builtins.toString builtins.currentTime", "attribute 'currentTime' missing"),
        ('builtins.exec [ "/bin/sh" ]', "attribute 'exec' missing"),
        (
            'builtins.readFile (derivation { name = "x"; system = "x86_64-linux"; '
            'builder = "/bin/sh"; args = [ "-c" "echo x > $out" ]; })',
            "allow-import-from-derivation",
        ),
    ],
)
def test_nix_code_reads_nothing_of_the_host(shared: Host, code: str, why: str) -> None:
    host, secret = shared, shared.folder / "secret"
    secret.write_text("the operator's")
    if not (host.work / "link").is_symlink():
        (host.work / "link").symlink_to(secret)
        host.git("-C", str(host.work), "add", "link")
    for word, value in {
        "SECRET": str(secret),
        "ZEROS": f'"{"0" * 64}"',
    }.items():
        code = code.replace(word, value)
    commit = host.commit(module(f"builtins.toString ({code})"))
    with pytest.raises(BuildError, match=why) as caught:
        host.build(commit)
    assert "the operator's" not in str(caught.value)
    assert not any("the operator's" in text for text in _texts(host.folder / "nix/store"))
    assert not (host.builds / "alice" / commit).exists()


def _texts(store: Path) -> list[str]:
    return [path.read_text(errors="replace") for path in store.glob("*") if path.is_file()]


def test_variables_are_empty(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIVE_SECRET", "the operator's")
    place = host.build(host.commit(module('"<${builtins.getEnv "HIVE_SECRET"}>"')))
    assert (place / "system/init").read_text() == "<> 1 26\n"


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"agent.toml": 'packages = ["jq"]'}, "name them in agent.nix"),
        ({"flake.lock": "{}"}, "flake.lock is not valid"),
        ({"flake.nix": '{ inputs.x.url = "github:a/b"; outputs = { self, x }: x; }'}, "'x'"),
        ({"flake.nix": "{ outputs = _: { }; }"}, "attribute 'nixosModules' missing"),
        ({"agent.nix": "{"}, "syntax error"),
    ],
)
def test_what_cannot_be_built_is_told(shared: Host, files: dict[str, str], why: str) -> None:
    commit = shared.commit(module('"x"'), **files)
    with pytest.raises(BuildError, match=why):
        shared.build(commit)
    assert list((shared.builds / "alice").iterdir()) == []


MEMORY = "It may have used up the memory of the host"
KILLED = rf" failed due to signal 9 \(Killed\)\. {MEMORY}"
PACKAGE = """"${derivation {
  name = "package";
  system = "x86_64-linux";
  builder = "/bin/sh";
  args = [ "-c" "echo compiling; SCRIPT" ];
}}"
"""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('"x"; before = "kill -9 $$"', f"nixos-system-alice.drv'{KILLED}"),
        (PACKAGE.replace("SCRIPT", "exit 3"), r"package.drv' failed with exit code 3"),
        (PACKAGE.replace("SCRIPT", "kill -9 $$"), f"package.drv'{KILLED}"),
    ],
    ids=["a killed system", "a package", "a killed package"],
)
def test_the_builder_that_failed_is_told(shared: Host, text: str, why: str) -> None:
    """Not the systems that could not be built without it."""
    with pytest.raises(BuildError, match=why):
        shared.build(shared.commit(module(text)))


LATER = """\
package> compiling
error: Cannot build '/nix/store/1-package.drv'.
       Reason: builder failed due to signal 9 (Killed).
       Output paths:
         /nix/store/1-package
error: Cannot build '/nix/store/2-nixos-system-alice.drv'.
       Reason: 1 dependency failed.
       Output paths:
         /nix/store/2-nixos-system-alice
error: Build failed due to failed dependency
"""


def test_the_reason_is_found_in_the_output_of_a_later_nix() -> None:
    reason = _reason(LATER.splitlines())
    assert reason.startswith("Cannot build '/nix/store/1-package.drv'. Reason: builder failed due")
    assert MEMORY in reason


def test_a_host_without_inputs_says_so(host: Host) -> None:
    host.inputs = {}
    with pytest.raises(BuildError, match=r"no section \[nixos.inputs.hyperhive\]"):
        host.build(host.commit(module('"x"')))


def test_an_input_of_the_agent_reaches_its_module(host: Host) -> None:
    """Nix has it in the store already, so nothing is fetched here."""
    found = host.add("source", '{ outputs = _: { text = "from the input"; }; }')
    original = {"type": "github", "owner": "example", "repo": "tool"}
    pins = {"rev": "1" * 40, "narHash": found.nar_hash, "lastModified": 1}
    nodes = {
        "root": {"inputs": {"tool": "tool"}},
        "tool": {"locked": {**original, **pins}, "original": original},
    }
    flake = metaflake.AGENT_FLAKE.replace(
        "{\n  outputs", '{\n  inputs.tool.url = "github:example/tool";\n  outputs'
    )
    lock = json.dumps({"nodes": nodes, "root": "root", "version": 7})
    files = {"flake.nix": flake, "flake.lock": lock}
    place = host.build(host.commit(module("flakeInputs.tool.text"), **files))
    assert (place / "system/init").read_text() == "from the input 1 26\n"


def test_a_nix_that_is_killed_is_told(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = host.commit(module('"x"'))
    programs = host.folder / "bin"
    programs.mkdir()
    (programs / "nix").write_text("#!/bin/sh\nkill -9 $$\n")
    (programs / "nix").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    with pytest.raises(BuildError, match=r"nix was killed by SIGKILL.*MemoryMax="):
        host.build(commit)
