"""Merging packages that dpkg-deb has unpacked into one /usr."""

from pathlib import Path

import pytest

from services.build import usr_merge


@pytest.fixture
def package(tmp_path: Path) -> Path:
    path = tmp_path / "package"
    (path / "usr/bin").mkdir(parents=True)
    (path / "usr/bin/one").write_text("one")
    return path


def tree(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir())


def test_what_lies_in_root_belongs_into_usr(package: Path, tmp_path: Path) -> None:
    for name in ("bin/two", "lib/x/three", "sbin/four"):
        (package / name).parent.mkdir(parents=True)
        (package / name).write_text(name)
    (package / "lib64").symlink_to("usr/lib64")
    assert usr_merge.move(package, tmp_path / "usr") == ["/lib64"]
    assert tree(tmp_path / "usr") == ["bin/one", "bin/two", "lib/x/three", "sbin/four"]


def test_the_rest_is_left_out_and_named(package: Path, tmp_path: Path) -> None:
    (package / "etc").mkdir()
    for number in range(7):
        (package / "etc" / f"conf{number}").touch()
    left = usr_merge.move(package, tmp_path / "usr")
    assert left == [*(f"/etc/conf{number}" for number in range(5)), "and 2 more"]
    assert tree(tmp_path / "usr") == ["bin/one"]


def test_packages_are_merged_and_the_later_one_counts(package: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "usr/bin").mkdir(parents=True)
    (other / "usr/bin/one").write_text("other")
    (other / "usr/bin/two").symlink_to("one")
    usr_merge.move(package, tmp_path / "usr")
    usr_merge.move(other, tmp_path / "usr")
    assert (tmp_path / "usr/bin/one").read_text() == "other"
    assert (tmp_path / "usr/bin/two").readlink() == Path("one")


def test_a_link_is_never_written_through(package: Path, tmp_path: Path) -> None:
    """A link of one package may be a directory in another."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (package / "usr/share").symlink_to(outside)
    other = tmp_path / "other"
    (other / "usr/share/doc").mkdir(parents=True)
    (other / "usr/share/doc/x").touch()
    (other / "lib").symlink_to(outside)
    usr_merge.move(package, tmp_path / "usr")
    usr_merge.move(other, tmp_path / "usr")
    assert (tmp_path / "usr/share/doc/x").exists()
    assert not list(outside.iterdir())


def test_nor_at_the_top(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o700)
    (outside / "x").touch()
    linked, merged = tmp_path / "linked", tmp_path / "merged"
    linked.mkdir()
    (linked / "usr").symlink_to(outside)
    usr_merge.move(linked, tmp_path / "usr")
    (linked / "usr").unlink()
    (linked / "usr").mkdir()
    (linked / "usr/lib64").symlink_to(outside)
    (merged / "lib64").mkdir(parents=True)
    (merged / "lib64/y").touch()
    usr_merge.move(linked, tmp_path / "usr")
    usr_merge.move(merged, tmp_path / "usr")
    assert tree(tmp_path / "usr") == ["lib64/y"]
    assert tree(outside) == ["x"]


def test_a_directory_in_the_way_is_replaced(package: Path, tmp_path: Path) -> None:
    (tmp_path / "usr/bin/one/deep").mkdir(parents=True)
    usr_merge.move(package, tmp_path / "usr")
    assert (tmp_path / "usr/bin/one").read_text() == "one"


def test_nothing_is_run_as_the_user_of_the_build(package: Path, tmp_path: Path) -> None:
    (package / "usr/bin/one").chmod(0o6755)
    usr_merge.move(package, tmp_path / "usr")
    assert (tmp_path / "usr/bin/one").stat().st_mode & 0o7777 == 0o755


def test_directories_are_their_owners_to_change(package: Path, tmp_path: Path) -> None:
    (package / "usr/bin").chmod(0o555)
    usr_merge.move(package, tmp_path / "usr")
    assert (tmp_path / "usr/bin").stat().st_mode & 0o777 == 0o755
