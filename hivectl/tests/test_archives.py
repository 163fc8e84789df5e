"""Archives from a hostile container, and directories around them that other users change."""

import errno
import io
import os
import tarfile
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hivectl.exit_codes import CommandError, Exit
from hivectl.host import archives

if TYPE_CHECKING:
    from typing_extensions import Buffer

MIB = 2**20


class Sent(io.RawIOBase):
    """A stream of the given pieces, which counts what was read."""

    def __init__(self, *pieces: Iterator[bytes]) -> None:
        self._pieces = (data for piece in pieces for data in piece)
        self._data = b""
        self.read_bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "Buffer", /) -> int:
        room = memoryview(buffer).cast("B")
        self._data = self._data or next(self._pieces, b"")
        count = min(len(room), len(self._data))
        room[:count] = self._data[:count]
        self._data = self._data[count:]
        self.read_bytes += count
        return count


def head(name: str, kind: bytes = tarfile.REGTYPE, **more: Any) -> bytes:
    return entry(name, kind, **more).tobuf(tarfile.GNU_FORMAT)


def endless() -> Iterator[bytes]:
    for _ in range(1024):  # 64 MiB
        yield bytes(64 * 1024)


def unpacked(
    stream: io.RawIOBase, target: Path, check: Callable[[], object] = bool, **more: bool
) -> int:
    return archives.unpack(io.BufferedReader(stream), target, str, check, **more).files


def entry(name: str, kind: bytes = tarfile.REGTYPE, **more: Any) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type = kind
    for key, value in more.items():
        setattr(made, key, value)
    return made


def test_an_archive_reaches_only_its_own_directory(tmp_path: Path) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for bad in (
            entry("x", tarfile.DIRTYPE),
            entry("/etc/evil"),
            entry("x/../../evil"),
            entry("../evil"),
            entry("x/link", tarfile.SYMTYPE, linkname=str(tmp_path)),
            entry("x/hard", tarfile.LNKTYPE, linkname="x/link"),
            entry("x/device", tarfile.CHRTYPE, devmajor=1, devminor=3),
            entry("x/set", mode=0o6755),
            entry("x/link/through"),
        ):
            archive.addfile(bad, io.BytesIO())
    data.seek(0)
    left_out: list[str] = []
    target = tmp_path / "deep/target"
    target.parent.mkdir()
    assert archives.unpack(data, target, left_out.append, bool).files == 2
    assert len(left_out) == 6
    assert (target / "set").stat().st_mode & 0o7000 == 0
    # The file that would have gone through the link lies in a directory of that name.
    assert (target / "link/through").is_file()
    assert sorted(one.name for one in tmp_path.rglob("*")) == [
        *("deep", "link", "set", "target", "through"),
    ]


def test_a_damaged_archive_leaves_nothing(tmp_path: Path) -> None:
    whole = io.BytesIO()
    archives.pack(Path(__file__), whole, print)
    cut = io.BytesIO(whole.getvalue()[:2000])
    with pytest.raises(CommandError):
        archives.unpack(cut, tmp_path / "target", print, bool)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "kind",
    [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK],
)
def test_a_header_takes_little_memory(tmp_path: Path, kind: bytes) -> None:
    stream = Sent(iter([head("x", kind, size=2**40)]), endless())
    if kind == tarfile.GNUTYPE_LONGLINK:  # which is passed over
        stream = Sent(iter([head("x", kind, size=8 * MIB)]), endless())
    tracemalloc.start()
    try:
        with pytest.raises(CommandError):
            unpacked(stream, tmp_path / "target")
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()
    assert list(tmp_path.iterdir()) == []


def test_entries_are_not_remembered(tmp_path: Path) -> None:
    name = b"/" + b"n" * 60_000
    padded = name + bytes(-len(name) % 512)
    long = head("long", tarfile.GNUTYPE_LONGNAME, size=len(name)) + padded
    pieces = (long + head("short") for _ in range(100))
    tracemalloc.start()
    try:
        stream = Sent(pieces, iter([head("x"), bytes(1024)]))
        assert unpacked(stream, tmp_path / "target") == 1
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [-1, -(2**60)])
def test_a_negative_size_is_refused(tmp_path: Path, size: int) -> None:
    stream = Sent(iter([head("x", tarfile.DIRTYPE, size=size)]), endless())
    with pytest.raises(CommandError, match="negative"):
        unpacked(stream, tmp_path / "target")


def test_a_copy_leaves_room_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> Iterator[bytes]:
        yield head("x", size=2**40)
        monkeypatch.setattr(archives, "LEAST_FREE", 1.1)
        monkeypatch.setattr(archives, "LEAST_FREE_BYTES", 2**80)
        yield from endless()

    stream = Sent(full())
    with pytest.raises(CommandError, match="disk"):
        unpacked(stream, tmp_path / "target")
    assert stream.read_bytes < 4 * MIB
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("replace", [False, True])
def test_a_file_that_is_made_meanwhile_is_kept(tmp_path: Path, replace: bool) -> None:
    target = tmp_path / "target"
    stream = Sent(iter([head("x"), bytes(1024)]))

    def check() -> None:
        target.write_text("the operator's")

    if replace:
        assert unpacked(stream, target, check, replace=True) == 1
        assert target.read_text() == ""
        return
    with pytest.raises(CommandError, match="not overwritten") as raised:
        unpacked(stream, target, check)
    assert raised.value.code == Exit.CONFLICT
    assert target.read_text() == "the operator's"
    assert list(tmp_path.iterdir()) == [target]


def test_a_directory_replaces_another(tmp_path: Path) -> None:
    target = tmp_path / "target"
    (target / "old").mkdir(parents=True)
    sent = iter([head("x", tarfile.DIRTYPE), head("x/new"), bytes(1024)])
    assert unpacked(Sent(sent), target, replace=True) == 1
    assert [one.name for one in target.iterdir()] == ["new"]


def test_the_former_directory_stays_if_another_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, rename = tmp_path / "target", os.rename
    (target / "old").mkdir(parents=True)

    def fail(source: str, to: str, **folders: Any) -> None:
        if source == archives.ROOT:
            raise OSError(errno.EIO, "it cannot be renamed")
        rename(source, to, **folders)

    monkeypatch.setattr(os, "rename", fail)
    sent = iter([head("x", tarfile.DIRTYPE), head("x/new"), bytes(1024)])
    with pytest.raises(CommandError, match="it cannot be renamed"):
        unpacked(Sent(sent), target, replace=True)
    assert [one.name for one in tmp_path.iterdir()] == ["target"]
    assert [one.name for one in target.iterdir()] == ["old"]


def test_who_owns_the_directory_around_a_copy_cannot_redirect_it(tmp_path: Path) -> None:
    around, victim = tmp_path / "around", tmp_path / "victim"
    around.mkdir()
    (victim / "x").mkdir(parents=True)

    def redirected() -> Iterator[bytes]:
        yield head("x", tarfile.DIRTYPE)
        [made] = around.iterdir()
        made.rename(tmp_path / "away")
        made.symlink_to(victim)
        yield head("x/evil") + head("x/deep/evil") + bytes(1024)

    stream = Sent(redirected())
    with suppress(CommandError):
        unpacked(stream, around / "target")
    assert [one.name for one in victim.rglob("*")] == ["x"]


def test_who_owns_a_directory_cannot_have_another_one_packed(tmp_path: Path) -> None:
    source, secret = tmp_path / "source", tmp_path / "secret"
    (source / "part").mkdir(parents=True)
    secret.mkdir()
    for name in ("1", "2"):
        (source / "part" / name).write_text(f"open {name}" * 10_000)  # more than a buffer
        (secret / name).write_text("secret")

    class Redirecting(io.BytesIO):
        def write(self, data: "Buffer", /) -> int:
            if b"open 1" in bytes(data) and not (tmp_path / "away").exists():
                (source / "part").rename(tmp_path / "away")
                (source / "part").symlink_to(secret)
            return super().write(data)

    written = Redirecting()
    archives.pack(source, written, print)
    assert (source / "part").is_symlink()
    assert b"secret" not in written.getvalue()
    assert b"open 2" in written.getvalue()
