"""The files of npm packages: only what is pinned is put in its place, and it is fetched once."""

import base64
import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest

from installer import vendor
from installer.errors import InstallError

REPO = Path(__file__).parents[2]
NPM = """#!/bin/sh
echo "$@" >> {calls}
for argument; do case $argument in --pack-destination=*) to=${{argument#*=}};; esac; done
cp {archive} "$to/demo-1.0.0.tgz"
"""


def archive(**files: str) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as content:
        for name, text in files.items():
            member = tarfile.TarInfo(f"package/dist/{name}.js")
            member.size = len(text)
            content.addfile(member, io.BytesIO(text.encode()))
    return data.getvalue()


def pin(repo: Path, content: bytes, path: str = "dist/demo.js") -> None:
    digest = base64.b64encode(hashlib.sha512(content).digest()).decode()
    (repo / vendor.PINS).write_text(
        f'[[package]]\nname = "demo"\nversion = "1.0.0"\nsha512 = "{digest}"\n'
        f'files = {{ "d.js" = "{path}" }}\n'
    )


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository that pins one package, which npm fetches."""
    (tmp_path / vendor.SERVED).parent.mkdir(parents=True)
    (tmp_path / "archive").write_bytes(archive(demo="let a;", other="let b;"))
    pin(tmp_path, (tmp_path / "archive").read_bytes())
    npm = tmp_path / "bin/npm"
    npm.parent.mkdir()
    npm.write_text(NPM.format(calls=tmp_path / "calls", archive=tmp_path / "archive"))
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{npm.parent}:{os.environ['PATH']}")
    return tmp_path


def test_the_named_files_are_fetched_once_and_again_when_one_is_gone(repo: Path) -> None:
    vendor.ensure(repo, vendor.missing(repo, tests=False))
    files = {path.name: path for path in (repo / vendor.SERVED).iterdir() if path.suffix == ".js"}
    assert files.keys() == {"d.js"}
    assert files["d.js"].read_text() == "let a;"
    assert "--ignore-scripts" in (repo / "calls").read_text()
    assert vendor.missing(repo, tests=False) == []
    files["d.js"].unlink()
    assert [package.name for package in vendor.missing(repo, tests=False)] == ["demo"]


def test_another_archive_than_the_pinned_one_leaves_no_file(repo: Path) -> None:
    pin(repo, archive(demo="let c;"))
    with pytest.raises(InstallError, match=r"demo 1\.0\.0 has the SHA-512 .* pins"):
        vendor.ensure(repo, vendor.missing(repo, tests=False))
    assert not (repo / vendor.SERVED / "d.js").exists()


def test_a_file_that_the_package_lacks_is_named(repo: Path) -> None:
    pin(repo, (repo / "archive").read_bytes(), path="dist/none.js")
    with pytest.raises(InstallError, match=r"has no file dist/none\.js"):
        vendor.ensure(repo, vendor.missing(repo, tests=False))
    assert vendor.missing(repo, tests=False)


def test_the_pins_of_the_repository_are_exact() -> None:
    for package in vendor.packages(REPO):
        assert len(base64.b64decode(package.sha512)) == 64, package.name
        assert package.version.replace(".", "").isdigit(), package.name
