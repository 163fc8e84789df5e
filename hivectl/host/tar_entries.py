"""The entries of a tar archive whose author may be hostile, one after the other.

`tarfile` reads an extended header of any size into memory, and remembers all entries. Here, an
entry takes a bounded amount of memory, and none when the next one is read. The archive has the
format that GNU tar calls `gnu`.
"""

import tarfile
from collections.abc import Iterator
from typing import IO, Final, NamedTuple

MAX_NAME: Final = 64 * 1024
"""Bytes of the name of an entry, or of the target of a link."""

_BLOCK: Final = tarfile.BLOCKSIZE
_CHUNK: Final = 64 * 1024
_FOREIGN: Final = frozenset(
    {tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_SPARSE}
)
"""The types of entries that other formats have, and of files with holes, which nobody asks for."""


class Content:
    """The content of an entry."""

    def __init__(self, stream: IO[bytes], size: int) -> None:
        self._stream = stream
        self._left = size
        self._padding = -size % _BLOCK

    def read(self, most: int = _CHUNK) -> bytes:
        """Return the next bytes, at most `most`; none at the end.

        Raises:
            tarfile.ReadError: the archive ends before.
        """
        data = _exactly(self._stream, min(most, self._left, _CHUNK))
        self._left -= len(data)
        return data

    def skip(self) -> None:
        """Go to the next entry.

        Raises:
            tarfile.ReadError: the archive ends before.
        """
        while self.read():
            pass
        _exactly(self._stream, self._padding)
        self._padding = 0


class Entry(NamedTuple):
    """An entry; its content can be read until the next entry is wanted."""

    name: str
    mode: int
    is_directory: bool
    is_file: bool
    content: Content


def entries(stream: IO[bytes]) -> Iterator[Entry]:
    """Yield the entries of the archive.

    Raises:
        tarfile.TarError, ValueError: the archive is damaged, or of another format.
    """
    name = ""
    while True:
        block = stream.read(_BLOCK)
        if block == bytes(_BLOCK):
            return
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        if header.size < 0:
            raise ValueError("an entry has a negative size")
        if header.type in _FOREIGN:
            raise ValueError("the archive is not of the format gnu")
        content = Content(stream, header.size)
        if header.type == tarfile.GNUTYPE_LONGNAME:
            name = _long_name(header, content)
        elif header.type != tarfile.GNUTYPE_LONGLINK:
            is_file = header.isreg()
            yield Entry(name or header.name, header.mode, header.isdir(), is_file, content)
            name = ""
        content.skip()


def _long_name(header: tarfile.TarInfo, content: Content) -> str:
    if header.size > MAX_NAME:
        raise ValueError(f"the name of an entry has {header.size} bytes")
    return content.read(MAX_NAME).rstrip(b"\0").decode("utf-8", "surrogateescape")


def _exactly(stream: IO[bytes], count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise tarfile.ReadError("the archive ends in the middle of an entry")
    return data
