"""Files and directories as tar archives, to and from a container that may be hostile.

An archive from a container is unpacked below a new directory, file by file: no link, no device and
no special mode is made, no path leads outside, and no link on the way is followed.
"""

import io
import os
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Final

from hivectl.exit_codes import CommandError, Exit

ROOT: Final = "x"
"""The name of the file or directory in the archive."""
MAX_ENTRIES: Final = 1_000_000
MAX_DEPTH: Final = 200
FILE_MODE: Final = 0o755
"""The most permissions that a file gets; the umask takes some away."""

Skipped = Callable[[str], object]
"""Hears of each entry that is left out, and why."""


def pack(source: Path, to: IO[bytes], skipped: Skipped) -> None:
    """Write the archive of a file or directory.

    Raises:
        CommandError: the source cannot be read.
    """
    try:
        with tarfile.open(fileobj=to, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            for path in _walk(source, skipped):
                _add(archive, path, source, skipped)
    except BrokenPipeError:
        raise  # the container says why
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise CommandError(Exit.NOT_FOUND, f"{where}{error.strerror}.") from error


def _walk(source: Path, skipped: Skipped) -> Iterator[Path]:
    """Yield the source and all that is below it; links are not followed."""
    yield source
    if not source.is_dir():
        return

    def failed(error: OSError) -> None:
        skipped(f"{error.filename}: {error.strerror}")

    for folder, folders, files in os.walk(source, onerror=failed):
        for name in sorted([*folders, *files]):
            yield Path(folder) / name


def _add(archive: tarfile.TarFile, path: Path, source: Path, skipped: Skipped) -> None:
    # The source itself may be a link: the operator has named it.
    status = path.stat() if path == source else path.lstat()
    name = PurePosixPath(ROOT) / path.relative_to(source).as_posix()
    made = tarfile.TarInfo(str(name))
    made.mtime = int(status.st_mtime)
    made.mode = stat.S_IMODE(status.st_mode) & FILE_MODE
    if stat.S_ISDIR(status.st_mode):
        made.type = tarfile.DIRTYPE
        archive.addfile(made)
    elif stat.S_ISREG(status.st_mode):
        with path.open("rb") as content:
            made.size = os.fstat(content.fileno()).st_size
            archive.addfile(made, content)
    elif stat.S_ISLNK(status.st_mode):
        made.type, made.linkname = tarfile.SYMTYPE, str(path.readlink())
        archive.addfile(made)
    else:
        skipped(f"{path} is neither a file nor a directory nor a link")


def unpack(stream: IO[bytes], target: Path, skipped: Skipped, check: Callable[[], object]) -> int:
    """Unpack an archive as `target`, which does not exist; return the number of files.

    A failure leaves nothing.

    Args:
        stream: the archive.
        target: the new file or directory.
        skipped: hears of the entries that are left out.
        check: raises a CommandError if the sender of the archive has failed; called at its end.

    Raises:
        CommandError: the archive is damaged, or cannot be written.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise CommandError(Exit.FAILED, f"{target.parent}: {error.strerror}.") from error
    try:
        count = _Unpacking(folder, skipped).all_of(stream)
        check()
        made = folder / ROOT
        if not made.exists():
            raise CommandError(Exit.FAILED, "The container sent no file.")
        made.rename(target)
        return count
    except (OSError, tarfile.TarError, ValueError, EOFError) as error:
        check()
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise CommandError(Exit.FAILED, f"{target} could not be made: {said}.") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Unpacking:
    """An archive that is unpacked in a new directory, which only this process writes to."""

    def __init__(self, folder: Path, skipped: Skipped) -> None:
        self._folder = folder
        self._skipped = skipped

    def all_of(self, stream: IO[bytes]) -> int:
        """Unpack all entries; return the number of files."""
        count = entries = 0
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for entry in archive:
                entries += 1
                if entries > MAX_ENTRIES:
                    raise ValueError(f"the container sends more than {MAX_ENTRIES} entries")
                count += self._one(archive, entry)
        return count

    def _one(self, archive: tarfile.TarFile, entry: tarfile.TarInfo) -> int:
        """Unpack one entry; return 1 for a file."""
        path = self._place(entry.name)
        if path is None:
            self._skipped(f"{entry.name!r} is not a valid path")
        elif entry.isdir():
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.chmod(entry.mode & FILE_MODE & ~_umask() | 0o700)
        elif entry.isreg():
            content = archive.extractfile(entry)
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._write(path, content or io.BytesIO(), entry.mode)
            return 1
        else:
            self._skipped(f"{entry.name!r} is neither a file nor a directory")
        return 0

    def _place(self, name: str) -> Path | None:
        """Return the path of an entry; None for one that is not below ROOT."""
        _first, *parts = PurePosixPath(name).parts or ("",)
        bad = name.startswith("/") or "\0" in name or len(parts) > MAX_DEPTH
        if bad or ".." in parts or _first == "..":
            return None
        return self._folder.joinpath(ROOT, *parts)

    def _write(self, path: Path, content: IO[bytes], mode: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, mode & FILE_MODE | 0o600), "wb") as file:
            shutil.copyfileobj(content, file, 1024 * 1024)


def _umask() -> int:
    """Return the umask of this process."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
