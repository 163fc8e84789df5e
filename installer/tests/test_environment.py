"""An environment takes its place: what is the same stays, and directories stay the same ones."""

from pathlib import Path

import pytest

from installer import environment
from installer.environment import BUILD, Wheels


def tree(root: Path, **files: str) -> Path:
    """Make a tree; a name has `_` for `/`."""
    for name, text in files.items():
        path = root / name.replace("_", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    return tmp_path / "new"


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    return tmp_path / "prefix"


def contents(root: Path) -> dict[str, str]:
    """Return the files of a tree, without its stamp."""
    found = {str(path.relative_to(root)): path for path in root.rglob("*") if path.is_file()}
    found.pop(".hyperhive-dependencies", None)
    return {name: path.read_text() for name, path in found.items()}


def test_files_are_replaced_added_and_removed(staged: Path, prefix: Path) -> None:
    tree(prefix, same="1", other="1", gone="1", old_gone="1")
    tree(staged, same="1", other="2", added="2", new_added="2")
    environment.replace(staged, prefix)
    assert contents(prefix) == {"same": "1", "other": "2", "added": "2", "new/added": "2"}
    assert not staged.exists()
    assert not (prefix / "old").exists()


def test_what_is_the_same_is_not_touched(staged: Path, prefix: Path) -> None:
    """Containers have the directories mounted, and programs run from the files."""
    tree(prefix, lib_same="1")
    tree(staged, lib_same="1", lib_added="1")
    before = (prefix.stat().st_ino, (prefix / "lib").stat().st_ino)
    file = (prefix / "lib/same").stat()
    environment.replace(staged, prefix)
    assert (prefix.stat().st_ino, (prefix / "lib").stat().st_ino) == before
    after = (prefix / "lib/same").stat()
    assert (after.st_ino, after.st_ctime_ns) == (file.st_ino, file.st_ctime_ns)


def test_kinds_and_modes_are_followed(staged: Path, prefix: Path) -> None:
    tree(prefix, was_directory_x="1", waslink="1", wasfile="1", mode="1")
    tree(staged, was_directory="2", wasfile_x="2", mode="1")
    (staged / "waslink").symlink_to("mode")
    (staged / "mode").chmod(0o755)
    environment.replace(staged, prefix)
    assert (prefix / "was/directory").read_text() == "2"
    assert (prefix / "wasfile/x").read_text() == "2"
    assert (prefix / "waslink").is_symlink()
    assert (prefix / "mode").stat().st_mode & 0o777 == 0o755


def test_an_interrupted_replacement_is_not_taken_for_complete(staged: Path, prefix: Path) -> None:
    tree(prefix, **{".hyperhive-dependencies": "old"})
    tree(staged, **{".hyperhive-dependencies": "new"}, lib="2")
    original = Path.replace

    def fail(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    Path.replace = fail  # type: ignore[method-assign,assignment]
    try:
        with pytest.raises(KeyboardInterrupt):
            environment.replace(staged, prefix)
    finally:
        Path.replace = original  # type: ignore[method-assign]
    assert not (prefix / ".hyperhive-dependencies").exists()


def test_wheels_are_fetched_again_when_a_lock_has_changed(tmp_path: Path) -> None:
    (tmp_path / "installer").mkdir()
    wheels = Wheels(tmp_path)
    for lock in wheels.locks:
        lock.write_text("one==1\n")
    assert not wheels.are_complete
    assert wheels.directory.is_relative_to(tmp_path / BUILD)
