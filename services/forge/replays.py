"""The events that were received before: a signed body stays valid for ever, so each counts once.

A signature covers the body alone. What is in no body, such as the id of a delivery, can be changed
by whoever repeats it; and no time in a body is that of the delivery. So the digests of bodies are
kept, on disk, the newest MOST of them.
"""

import errno
import os
from pathlib import Path
from typing import Final

from services.errors import ConfigError

MOST: Final = 100_000
SIZE: Final = 32
"""Bytes of a digest (SHA-256)."""


class Replays:
    """A file of digests, oldest first. There is at most twice the number that counts in it."""

    def __init__(self, file: Path, most: int = MOST) -> None:
        """Read `file`, which need not exist.

        Raises:
            ConfigError: it cannot be read or written.
        """
        self._file = file
        self._most = most
        try:
            data = file.read_bytes() if file.exists() else b""
            whole = len(data) - len(data) % SIZE  # the last one may be cut off by a crash
            found = [data[at : at + SIZE] for at in range(0, whole, SIZE)]
            # A dict keeps the order, and is a set otherwise.
            self._known = dict.fromkeys(found[-most:])
            self._length = len(self._known)
            if len(data) != SIZE * self._length:
                self._rewrite()
        except OSError as error:
            raise ConfigError(f"{file} cannot be used: {error.strerror}.") from error

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._known

    def add(self, digest: bytes) -> None:
        """Remember a digest; it is on disk then.

        Raises:
            OSError: it cannot be written.
        """
        if digest in self._known:
            return
        if self._length >= 2 * self._most:
            self._rewrite()
        with self._file.open("ab", buffering=0) as file:
            at = file.tell()
            try:
                if file.write(digest) != SIZE:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(file.fileno())
            except OSError:
                os.truncate(file.fileno(), at)  # half a digest would shift all later ones
                raise
        self._length += 1
        self._known[digest] = None
        if len(self._known) > self._most:
            del self._known[next(iter(self._known))]

    def _rewrite(self) -> None:
        """Write the file anew, with the digests that count."""
        new = self._file.with_name(f".{self._file.name}.new")
        with new.open("wb") as file:
            file.write(b"".join(self._known))
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._file)
        self._length = len(self._known)
