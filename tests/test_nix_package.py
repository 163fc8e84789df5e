"""The package for NixOS, as far as it can be checked without nixpkgs.

A prefix is made as package.nix has nixpkgs make it: an environment of Python that consists of
links, whose Python is a wrapper, with the data of a real wheel installed by `nix/install-data.sh`.
"""

import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.nix import ROOT, STAND_IN, needs_nix, run

VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
PACKAGES = {
    name: f"/nix/store/{letter * 32}-{name}"
    for letter, name in zip("bcds", ("bash", "coreutils", "util-linux", "systemd"), strict=True)
}
INSTALLED = ("lib/systemd/system", "lib/tmpfiles.d", "share/hyperhive", "share/dbus-1")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked wheel: its Python packages, and below `data` the other files."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    [built] = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(folder)
    [data] = folder.glob("*.data/data")
    data.rename(folder / "data")
    return folder


@pytest.fixture(scope="module")
def prefix(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environment with the package; like buildEnv it links what only one package has."""
    path = tmp_path_factory.mktemp("prefix")
    python = Path(sys.executable).resolve()
    standard = Path(sysconfig.get_path("stdlib"))
    library = path / "lib" / VERSION
    library.mkdir(parents=True)
    for found in standard.iterdir():
        if found.name not in ("site-packages", "dist-packages"):
            (library / found.name).symlink_to(found)
    site = library / "site-packages"
    site.mkdir()
    # Debian's Python looks for packages here.
    (path / "lib/python3").mkdir()
    (path / "lib/python3/dist-packages").symlink_to(site)
    # The installed copy of this project, and what finds it, must not be found here.
    libraries = Path(sysconfig.get_path("purelib")).iterdir()
    theirs = [one for one in libraries if "hyperhive" not in one.name and one.suffix != ".pth"]
    ours = [one for one in wheel.iterdir() if one.is_dir() and one.name != "data"]
    for one in {one.name: one for one in (*theirs, *ours)}.values():
        (site / one.name).symlink_to(one)
    (path / "bin").mkdir()
    wrapper = path / "bin/python"
    wrapper.write_text(f'#!/bin/bash\nexport PYTHONNOUSERSITE=true\nexec -a "$0" {python} "$@"\n')
    wrapper.chmod(0o755)
    # A directory that another package has, too, and one that only this Python has.
    (path / "share").symlink_to(tmp_path_factory.mktemp("others"))
    (path / "share/man/man1").mkdir(parents=True)
    (path / "share/man/man1/python.1").touch()
    install(wheel / "data", path)
    return path


def install(data: Path, prefix: Path) -> None:
    variables = {name.replace("-", "_"): store for name, store in PACKAGES.items()}
    subprocess.run(
        ["/bin/sh", ROOT / "nix/install-data.sh", data, prefix],
        env={"PATH": os.environ["PATH"], "shell": f"{PACKAGES['bash']}/bin/sh", **variables},
        check=True,
    )


def installed(wheel: Path, prefix: Path) -> Iterator[tuple[str, str]]:
    for found in sorted((wheel / "data").rglob("*")):
        if found.is_file():
            name = str(found.relative_to(wheel / "data"))
            yield name, (prefix / name).read_text()


def python(prefix: Path, *arguments: str) -> str:
    """Run the Python of the prefix as a unit does: with an environment that has nothing of ours."""
    done = subprocess.run(
        [prefix / "bin/python", "-B", *arguments],
        env={"PATH": "/nonexistent"},
        cwd="/",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_no_file_names_the_prefix_of_an_ordinary_installation(wheel: Path, prefix: Path) -> None:
    files = dict(installed(wheel, prefix))
    assert len(files) > 80
    assert [name for name, text in files.items() if "/usr/lib/hyperhive" in text] == []
    # Links would have led to the files of the wheel.
    assert not (prefix / "share/hyperhive/container/hive-harness.service").is_symlink()
    assert (prefix / "share/man/man1/python.1").exists()


def settings(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith(("#", ";"))]


def test_no_setting_names_a_directory_that_nixos_does_not_have(wheel: Path, prefix: Path) -> None:
    for name, text in installed(wheel, prefix):
        if name.startswith(INSTALLED):
            for line in settings(text):
                words = line.replace(str(prefix), "/nix/store/prefix")
                words = words.replace("/run/current-system/sw/bin", "").replace("/nix/store", "")
                # Nothing but the standard input, /etc and the directories that are mounted.
                assert not re.search(r"(?<![\w/.-])/(usr|bin|sbin|lib)/", words), (name, line)


def test_every_program_of_a_unit_has_a_path_in_the_store(wheel: Path, prefix: Path) -> None:
    """systemd finds a program without a path only beside its own, on NixOS."""
    stores = (str(prefix), "/nix/store/")
    found = 0
    for name, text in installed(wheel, prefix):
        for line in settings(text):
            key, _, value = line.partition("=")
            if key.startswith("Exec") and value and Path(name).suffix in (".service", ".socket"):
                assert value.lstrip("-+!@:").startswith(stores), (name, line)
                found += 1
    assert found > 20


def test_the_init_of_containers_needs_no_path(prefix: Path) -> None:
    init = prefix / "share/hyperhive/hive-init.sh"
    lines = init.read_text().splitlines()
    assert os.access(init, os.X_OK)
    assert lines[0] == f"#!{PACKAGES['bash']}/bin/sh"
    commands = [line.split()[0] for line in lines if re.match(r"(mount|/nix\S*mount) ", line)]
    assert commands == [f"{PACKAGES['util-linux']}/bin/mount"] * 2
    assert f"exec {PACKAGES['util-linux']}/bin/setpriv " in init.read_text()


@pytest.mark.parametrize("options", [(), ("-I",), ("-P",)], ids=["plain", "isolated", "safe path"])
def test_python_has_the_prefix_and_the_packages(prefix: Path, options: tuple[str, ...]) -> None:
    """hivectl restore runs it with -I, which ignores PYTHONPATH."""
    code = "import sys, harness, services.broker.restore as r; print(sys.prefix, r.__file__)"
    found, module = python(prefix, *options, "-c", code).split()
    assert found == str(prefix)
    assert module.startswith(str(prefix))


def test_children_inherit_no_path_of_python(prefix: Path) -> None:
    code = "import os; print([name for name in os.environ if name.startswith('PYTHONPATH')])"
    assert python(prefix, "-c", code) == "[]"


def test_the_version_covers_the_harness_and_its_units(wheel: Path, prefix: Path) -> None:
    code = """
import pathlib, sys
from services.lifecycle.host import version
print(version.current(pathlib.Path(sys.prefix)))
"""
    first = python(prefix, "-c", code)
    unit = prefix / "share/hyperhive/container/hive-harness.service"
    unit.write_text(unit.read_text() + "# another\n")
    second = python(prefix, "-c", code)
    module = wheel / "harness/another.py"
    module.write_text("")
    third = python(prefix, "-c", code)
    module.unlink()
    assert len({first, second, third}) == 3


def test_package_nix_installs_the_data_in_this_way() -> None:
    text = (ROOT / "nix/package.nix").read_text()
    assert '${./install-data.sh} ${module.data} "$out"' in text
    assert "PYTHONPATH :" not in text
    # Compressed pages would keep the paths.
    assert "dontGzipMan = true;" in text
    assert re.search(r"^  python313,$", text, re.M)
    for variable in ("systemd", "util_linux", "coreutils", "shell"):
        assert re.search(rf"\b{variable}=\$\{{", text)
        assert f"${variable}" in (ROOT / "nix/install-data.sh").read_text()


@needs_nix
def test_the_files_of_npm_packages_are_the_pinned_ones(tmp_path: Path) -> None:
    """Run the script of the stand-in's derivation, with archives in the place of those of npm."""
    pins = tomllib.loads((ROOT / "services/dashboard/vendor.toml").read_text())["package"]
    served = [package for package in pins if not package.get("tests")]
    expression = f"""
      let packages = import {STAND_IN} {{ system = "x86_64-linux"; }};
      in (import {ROOT}/nix/vendor.nix {{
        inherit (packages) lib;
        fetchurl = {{ url, hash }}: "ARCHIVE=${{url}}=${{hash}}";
        runCommand = name: attributes: script: script;
      }})
    """
    done = run("nix-instantiate", "--eval", "--json", "--expr", expression, home=tmp_path)
    script = json.loads(done.stdout)
    fetched = dict(re.findall(r"ARCHIVE=(\S+?)=sha512-(\S+)", script))
    assert list(fetched.values()) == [package["sha512"] for package in served]
    for url, package in zip(fetched, served, strict=True):
        name = package["name"].split("/")[-1]
        assert url.endswith(f"/{package['name']}/-/{name}-{package['version']}.tgz")
        archive = tmp_path / f"{name}.tgz"
        with tarfile.open(archive, "w:gz") as written:
            for path in package["files"].values():
                (tmp_path / "file").write_text(f"{name} {path}")
                written.add(tmp_path / "file", f"package/{path}")
        script = script.replace(f"ARCHIVE={url}=sha512-{package['sha512']}", str(archive))
    out = tmp_path / "out"
    environment = {"PATH": os.environ["PATH"], "out": str(out)}
    subprocess.run(["/bin/sh", "-euc", script], cwd=tmp_path, env=environment, check=True)
    assert {path.name: path.read_text() for path in out.iterdir()} == {
        file: f"{package['name'].split('/')[-1]} {path}"
        for package in served
        for file, path in package["files"].items()
    }
