"""Files and directories as tar archives, to and from a container that may be hostile.

An archive from a container is unpacked below a new directory, file by file: no link, no device and
no special mode is made, and no path leads outside. Other users of the host may own the directories
around: files and directories are opened one by one, by descriptor, and no link is followed.
"""

import ctypes
import errno
import os
import secrets
import shutil
import stat
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO, Final, NamedTuple

from hivectl.exit_codes import CommandError, Exit
from hivectl.host.tar_entries import Content, Entry, entries

FORMER: Final = "former"
ROOT: Final = "x"
"""The name of the file or directory in the archive."""
MAX_ENTRIES: Final = 1_000_000
MAX_DEPTH: Final = 200
FILE_MODE: Final = 0o755
"""The most permissions that a file gets; the umask takes some away."""
LEAST_FREE: Final = 0.05
LEAST_FREE_BYTES: Final = 2**30
"""A copy ends when less of the disk is free than both: a hostile container sends without end."""
LOOK: Final = 2**20
"""The bytes after which the disk is looked at again."""

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_RENAME_NOREPLACE: Final = 1

REPOSITORY: Final = "HEAD"
"""A file that each git repository has beside its configuration."""

Skipped = Callable[[str], object]
"""Hears of each entry that is left out, and why."""


class Unpacked(NamedTuple):
    """The files and directories that were made of an archive."""

    files: int
    repository: PurePosixPath | None = None
    """The directory of a git repository among them, below the target."""


def pack(source: Path, to: IO[bytes], skipped: Skipped) -> None:
    """Write the archive of a file or directory.

    Raises:
        CommandError: the source cannot be read.
    """
    try:
        with tarfile.open(fileobj=to, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            # The source itself may be a link: the operator has named it.
            _Packing(archive, source.resolve(strict=True), skipped).run()
    except BrokenPipeError:
        raise  # the container says why
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise CommandError(Exit.NOT_FOUND, f"{where}{error.strerror or error}.") from error


class _Packing:
    """A file or directory that is written to an archive.

    Others may replace a file by a link meanwhile: what is read is what was opened without following
    one.
    """

    def __init__(self, archive: tarfile.TarFile, source: Path, skipped: Skipped) -> None:
        self._archive = archive
        self._source = source
        self._skipped = skipped

    def run(self) -> None:
        """Write the source, and all that is below it."""
        self._add(self._source, str(self._source))
        if not self._source.is_dir():
            return
        for folder, folders, files, descriptor in os.fwalk(self._source, onerror=self._failed):
            folders.sort()
            for name in sorted([*folders, *files]):
                self._add(Path(folder) / name, name, descriptor)

    def _failed(self, error: OSError) -> None:
        self._skipped(f"{error.filename}: {error.strerror}")

    def _add(self, path: Path, name: str, folder: int | None = None) -> None:
        """Write one file or directory, which is `name` in the directory `folder`."""
        status = os.lstat(name, dir_fd=folder)
        made = tarfile.TarInfo(str(PurePosixPath(ROOT) / path.relative_to(self._source).as_posix()))
        made.mtime = int(status.st_mtime)
        made.mode = stat.S_IMODE(status.st_mode) & FILE_MODE
        if stat.S_ISDIR(status.st_mode):
            made.type = tarfile.DIRTYPE
            self._archive.addfile(made)
        elif stat.S_ISLNK(status.st_mode):
            made.type, made.linkname = tarfile.SYMTYPE, os.readlink(name, dir_fd=folder)
            self._archive.addfile(made)
        elif stat.S_ISREG(status.st_mode):
            with _opened(name, folder) as content:
                opened = os.fstat(content.fileno())
                if not stat.S_ISREG(opened.st_mode):
                    self._skipped(f"{path} was replaced")
                    return
                made.size = opened.st_size
                self._archive.addfile(made, content)
        else:
            self._skipped(f"{path} is neither a file nor a directory nor a link")


def _opened(name: str, folder: int | None) -> IO[bytes]:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    return os.fdopen(os.open(name, flags, dir_fd=folder), "rb")


def unpack(
    stream: IO[bytes],
    target: Path,
    skipped: Skipped,
    check: Callable[[], object],
    *,
    replace: bool = False,
) -> Unpacked:
    """Unpack an archive as `target`.

    A failure leaves nothing, and the former `target`.

    Args:
        stream: the archive.
        target: the new file or directory.
        skipped: hears of the entries that are left out.
        check: raises a CommandError if the sender of the archive has failed; called at its end.
        replace: whether the new one replaces a file or directory that is there; otherwise there
            must be none.

    Raises:
        CommandError: the archive is damaged, or cannot be written.
    """
    try:
        with _beside(target) as (parent, folder):
            try:
                with _Unpacking(folder, skipped) as unpacking:
                    unpacked = unpacking.all_of(stream)
                check()
                if _mode(ROOT, folder) is None:
                    raise CommandError(Exit.FAILED, "The container sent no file.")
                _move(folder, parent, target, replace=replace)
            except (OSError, tarfile.TarError, ValueError, EOFError):
                check()
                raise
            return unpacked
    except (OSError, tarfile.TarError, ValueError, EOFError) as error:
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise CommandError(Exit.FAILED, f"{target} could not be made: {said}.") from error


@contextmanager
def _beside(target: Path) -> Iterator[tuple[int, int]]:
    """Provide the directory of `target`, and a new one in it, which only this user may enter."""
    with ExitStack() as stack:
        parent = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, parent)
        name = f".hivectl-{secrets.token_hex(8)}"
        os.mkdir(name, mode=0o700, dir_fd=parent)
        stack.callback(shutil.rmtree, name, ignore_errors=True, dir_fd=parent)
        folder = os.open(name, _DIRECTORY, dir_fd=parent)
        stack.callback(os.close, folder)
        # A user who may write to the parent could have put another directory in its place.
        with os.scandir(folder) as inside:
            if os.fstat(folder).st_uid != os.geteuid() or any(inside):
                raise ValueError(f"another user changes {target.parent}")
        yield parent, folder


def _mode(name: str, folder: int) -> int | None:
    """Return the mode of an entry of a directory, None if there is none."""
    try:
        return os.lstat(name, dir_fd=folder).st_mode
    except FileNotFoundError:
        return None


def _move(folder: int, parent: int, target: Path, *, replace: bool) -> None:
    """Move the finished file or directory to its place."""
    if not replace and not _is_moved(folder, parent, target.name):
        # The container decides how long a copy takes.
        raise CommandError(Exit.CONFLICT, f"{target} was made meanwhile, and is not overwritten.")
    if replace:
        # The former one is removed last, with the private directory: a directory takes its time,
        # and may have parts that cannot be removed.
        with suppress(FileNotFoundError):
            os.rename(target.name, FORMER, src_dir_fd=parent, dst_dir_fd=folder)
        try:
            os.rename(ROOT, target.name, src_dir_fd=folder, dst_dir_fd=parent)
        except BaseException:
            with suppress(FileNotFoundError):
                os.rename(FORMER, target.name, src_dir_fd=folder, dst_dir_fd=parent)
            raise


def _is_moved(folder: int, parent: int, name: str) -> bool:
    """Move ROOT to a name that is free; return whether the name was free."""
    names = (folder, os.fsencode(ROOT), parent, os.fsencode(name))
    if not ctypes.CDLL(None, use_errno=True).renameat2(*names, _RENAME_NOREPLACE):
        return True
    number = ctypes.get_errno()
    if number == errno.EEXIST:
        return False
    if number not in (errno.EINVAL, errno.ENOSYS):
        raise OSError(number, os.strerror(number))
    # Some file systems cannot do that in one step.
    if _mode(name, parent) is not None:
        return False
    os.rename(ROOT, name, src_dir_fd=folder, dst_dir_fd=parent)
    return True


class _Unpacking:
    """An archive that is unpacked in a new directory."""

    def __init__(self, folder: int, skipped: Skipped) -> None:
        self._folder = folder
        self._skipped = skipped
        self._umask = _umask()
        self._open: list[tuple[str, int]] = []
        """The directories from ROOT to the last one that was used, with their descriptors."""
        self._written = 0
        """The bytes since the disk was looked at."""
        self._repository: PurePosixPath | None = None

    def __enter__(self) -> "_Unpacking":
        return self

    def __exit__(self, *_: object) -> None:
        self._leave(0)

    def all_of(self, stream: IO[bytes]) -> Unpacked:
        """Unpack all entries."""
        self._look()
        count = 0
        for number, entry in enumerate(entries(stream), 1):
            if number > MAX_ENTRIES:
                raise ValueError(f"the container sends more than {MAX_ENTRIES} entries")
            count += self._one(entry)
        return Unpacked(count, self._repository)

    def _one(self, entry: Entry) -> int:
        """Unpack one entry; return 1 for a file."""
        parts = _parts(entry.name)
        if parts is None:
            self._skipped(f"{entry.name!r} is not a valid path")
        elif entry.is_directory:
            mode = entry.mode & FILE_MODE & ~self._umask | 0o700
            os.fchmod(self._directory(parts), mode)
        elif entry.is_file:
            if parts[-1] == REPOSITORY and self._repository is None:
                self._repository = PurePosixPath(*parts[1:-1])
            self._write(parts, entry.content, entry.mode & FILE_MODE | 0o600)
            return 1
        else:
            self._skipped(f"{entry.name!r} is neither a file nor a directory")
        return 0

    def _directory(self, parts: Sequence[str]) -> int:
        """Open a directory, which is made if there is none."""
        same = 0
        while same < min(len(parts), len(self._open)) and parts[same] == self._open[same][0]:
            same += 1
        self._leave(same)
        for part in parts[same:]:
            above = self._open[-1][1] if self._open else self._folder
            if _mode(part, above) is None:
                os.mkdir(part, mode=0o700, dir_fd=above)
                self._count(0)
            self._open.append((part, os.open(part, _DIRECTORY, dir_fd=above)))
        return self._open[-1][1] if self._open else self._folder

    def _leave(self, kept: int) -> None:
        """Close the directories below the first `kept` ones."""
        while len(self._open) > kept:
            os.close(self._open.pop()[1])

    def _write(self, parts: Sequence[str], content: Content, mode: int) -> None:
        folder = self._directory(parts[:-1])
        with os.fdopen(os.open(parts[-1], _NEW, mode, dir_fd=folder), "wb") as file:
            self._count(0)
            while data := content.read():
                file.write(data)
                self._count(len(data))

    def _count(self, size: int) -> None:
        """Note that something of `size` bytes was written."""
        self._written += 4096 + size
        if self._written > LOOK:
            self._look()

    def _look(self) -> None:
        """Check that the disk has room for others."""
        self._written = 0
        found = os.fstatvfs(self._folder)
        least = min(LEAST_FREE_BYTES // found.f_frsize, int(LEAST_FREE * found.f_blocks))
        if found.f_bavail < least or found.f_favail < LEAST_FREE * found.f_files:
            raise OSError("the disk would be full")


def _parts(name: str) -> list[str] | None:
    """Return the path of an entry; None for one that is not below ROOT."""
    first, *parts = PurePosixPath(name).parts or ("",)
    bad = name.startswith("/") or "\0" in name or len(parts) > MAX_DEPTH
    return None if bad or ".." in (first, *parts) else [ROOT, *parts]


def _umask() -> int:
    """Return the umask of this process."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
