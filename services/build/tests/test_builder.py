"""Builds of commits, with fake packages, and the builds that are kept."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from services.build.builder import Builder, BuildError
from services.config import AgentSettings, Config, LifecycleConfig


class FakePackages:
    """Unpacks an empty program for each package and fails for `broken`."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    def unpack(self, packages: Sequence[str], into: Path) -> list[str]:
        self.asked.append(tuple(packages))
        (into / "usr/bin").mkdir(parents=True)
        for name in packages:
            (into / "usr/bin" / name).touch()
            if name == "broken":
                (into / "usr/bin").chmod(0o500)
                raise BuildError("It is broken.")
        return [f"{name} 1" for name in packages]


class Folders:
    """The folders of a hive."""

    def __init__(self, folder: Path) -> None:
        self.applied, self.builds, self.work = (folder / n for n in ("applied", "builds", "work"))
        for path in (self.applied, self.builds):
            path.mkdir()
        self.git("init", "-q", "--bare", str(self.applied / "alice"))
        self.git("init", "-q", str(self.work))
        self.packages = FakePackages()
        self.config = Config(
            lifecycle=LifecycleConfig(agents={"bob": AgentSettings(image="/srv/small")})
        )

    def git(self, *arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.invalid"]
        command = ["git", *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, text: str, agent: str = "alice") -> str:
        if not (self.applied / agent).exists():
            self.git("init", "-q", "--bare", str(self.applied / agent))
        (self.work / "agent.toml").write_text(text)
        self.git("-C", str(self.work), "add", "agent.toml")
        self.git("-C", str(self.work), "commit", "-q", "--allow-empty", "-m", text)
        self.git("-C", str(self.work), "push", "-q", str(self.applied / agent), "HEAD:refs/tags/x")
        self.git("--git-dir", str(self.applied / agent), "tag", "-d", "x")
        return self.git("-C", str(self.work), "rev-parse", "HEAD")

    def deploy(self, commit: str) -> None:
        self.git("--git-dir", str(self.applied / "alice"), "update-ref", "refs/heads/main", commit)

    def build(self, commit: str, agent: str = "alice") -> Path:
        Builder(self.applied, self.builds, self.packages, self.config).build(agent, commit)
        return self.builds / agent / commit

    @property
    def built(self) -> set[str]:
        return {path.name for path in (self.builds / "alice").iterdir()}


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


def test_a_build_is_the_checked_file(folders: Folders) -> None:
    place = folders.build(folders.commit('model = "m"\n'))
    assert [path.name for path in place.iterdir()] == ["agent.toml"]
    assert (place / "agent.toml").read_text() == 'model = "m"\n'
    assert place.stat().st_mode & 0o777 == 0o755
    assert folders.packages.asked == []


def test_packages_are_unpacked_and_named(folders: Folders) -> None:
    place = folders.build(folders.commit('packages = ["jq", "sl"]\n'))
    assert folders.packages.asked == [("jq", "sl")]
    assert (place / "usr/bin/jq").exists()
    assert (place / "packages").read_text() == "jq 1\nsl 1\n"


def test_a_second_time_there_is_nothing_to_do(folders: Folders) -> None:
    commit = folders.commit('packages = ["jq"]\n')
    before = folders.build(commit).stat().st_ino
    assert folders.build(commit).stat().st_ino == before
    assert folders.packages.asked == [("jq",)]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('model = "m"\nx = 1\n', r"agent.toml, line 2: x is not a known key"),
        ('packages = ["jq", "broken"]\n', "It is broken"),
    ],
)
def test_nothing_is_left_of_what_fails(folders: Folders, text: str, why: str) -> None:
    commit = folders.commit(text)
    with pytest.raises(BuildError, match=why):
        folders.build(commit)
    assert folders.built == set()


def test_what_was_interrupted_is_removed(folders: Folders) -> None:
    (folders.builds / "alice/.unfinished-1/usr").mkdir(parents=True)
    commit = folders.commit("# nothing\n")
    folders.build(commit)
    assert folders.built == {commit}


def test_directories_that_a_package_closes_can_be_removed() -> None:
    """Run as the user nobody, because root may write anywhere."""
    code = (
        "import os, sys, tempfile; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "from services.build.store import BuildStore\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    closed = Path(folder, '.unfinished-1/usr/bin'); closed.mkdir(parents=True)\n"
        "    (closed / 'x').touch(); closed.chmod(0o500)\n"
        "    with BuildStore(Path(folder)).new('1' * 40): pass\n"
        "    print(os.listdir(folder))\n"
    )
    user = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
    command = [sys.executable, "-c", code, str(Path(__file__).parents[3])]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, **user)  # type: ignore[call-overload]
    assert done.stdout == f"['{'1' * 40}']\n", done.stderr


@pytest.mark.parametrize(
    ("agent", "commit"),
    [
        ("alice", ""),
        ("alice", "HEAD"),
        ("alice", "a" * 39),
        ("../x", "a" * 40),
        ("alice", "A" * 40),
    ],
)
def test_other_names_are_refused(folders: Folders, agent: str, commit: str) -> None:
    with pytest.raises(
        BuildError, match="is not valid: give an agent's name and a full commit hash"
    ):
        folders.build(commit, agent)


def test_a_commit_that_is_not_there_is_told(folders: Folders) -> None:
    with pytest.raises(BuildError, match=r"git cannot read a+:agent.toml in .*/applied/alice: "):
        folders.build("a" * 40)


def test_a_repository_names_no_program(folders: Folders, tmp_path: Path) -> None:
    """The repository's configuration must not run programs: missing objects are not fetched."""
    repository, ran = folders.applied / "alice", tmp_path / "ran"
    for key, value in {
        "core.repositoryFormatVersion": "1",
        "extensions.partialClone": "far",
        "remote.far.url": str(tmp_path),
        "remote.far.promisor": "true",
        "remote.far.uploadPack": f"touch {ran};",
    }.items():
        folders.git("--git-dir", str(repository), "config", key, value)
    subprocess.run(
        ["git", "--git-dir", str(repository), "cat-file", "blob", "a" * 40], capture_output=True
    )
    assert ran.exists()  # by plain git it would be
    ran.unlink()
    with pytest.raises(BuildError):
        folders.build("a" * 40)
    assert not ran.exists()


def test_packages_fit_no_image(folders: Folders) -> None:
    commit = folders.commit('packages = ["jq"]\n', "bob")
    with pytest.raises(BuildError, match="bob runs from the image /srv/small"):
        folders.build(commit, "bob")
    assert folders.packages.asked == []


def test_the_deployed_one_and_the_one_before_are_kept(folders: Folders) -> None:
    commits = [folders.commit(f"# {number}\n") for number in range(5)]
    for number, commit in enumerate(commits):
        path = folders.build(commit)
        os.utime(path, (number, number))
        if number == 1:
            folders.deploy(commit)
    # 1 is deployed, 4 is about to be, and 3 is the newest of the others.
    assert folders.built == {commits[1], commits[3], commits[4]}
    folders.deploy(commits[4])
    folders.build(folders.commit("# 6\n"))
    assert commits[4] in folders.built


def test_what_is_built_again_counts_as_new(folders: Folders) -> None:
    old, middle, new = (folders.commit(f"# {number}\n") for number in range(3))
    for number, commit in enumerate((old, middle)):
        os.utime(folders.build(commit), (number, number))
    folders.build(old)
    folders.build(new)
    assert folders.built == {old, new}
