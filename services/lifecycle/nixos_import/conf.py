"""The file of a container that nixos-container made, /etc/nixos-containers/NAME.conf.

systemd reads it as an environment file, and the start script of the container splits the value of
EXTRA_NSPAWN_FLAGS at white space, without quoting.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from wire.errors import InvalidArgument

FLAGS: Final = "EXTRA_NSPAWN_FLAGS"
MAX_BYTES: Final = 256 * 1024

_BINDS: Final = ("--bind", "--bind-ro")
_FIELD: Final = re.compile(r"((?:[^:\\]|\\.)*)(?::|$)")


class Bind(NamedTuple):
    """A bind mount."""

    source: str
    """The absolute path on the host."""
    target: str
    """The path in the container."""
    writable: bool


def binds(text: str, file: str, root: Path) -> list[Bind]:
    """Return the bind mounts of a container, in their order.

    Args:
        text: the content of the file.
        file: the name of the file, for errors.
        root: the container's root directory, for sources that begin with `+`.

    Raises:
        InvalidArgument: the text is not valid.
    """
    return list(_binds(_flags(text, file), file, root))


def _flags(text: str, file: str) -> list[str]:
    """Return the words of the last EXTRA_NSPAWN_FLAGS."""
    found = ""
    for number, line in enumerate(text.replace("\\\n", " ").splitlines(), 1):
        key, equals, value = line.partition("=")
        if key.strip() != FLAGS or not equals:
            continue
        try:
            found = " ".join(shlex.split(value))
        except ValueError as error:
            raise InvalidArgument(
                f"{file}, line {number}: the value of {FLAGS} is not valid: {error}."
            ) from None
    return found.split()


def _binds(words: list[str], file: str, root: Path) -> Iterator[Bind]:
    rest = iter(words)
    for word in rest:
        option, equals, value = word.partition("=")
        if option not in _BINDS:
            continue
        mount = value if equals else next(rest, "")
        source, target = _fields(mount)
        if source.startswith("+"):
            source, target = f"{root}{source[1:]}", target or source[1:]
        if not source and target:
            continue  # a temporary directory
        if not source.startswith("/") or not (target or source).startswith("/"):
            raise InvalidArgument(
                f"{file}: {option}={mount} in {FLAGS} is not a valid bind mount: use absolute "
                "paths, as SOURCE:TARGET."
            )
        yield Bind(source, _normal(target or source), option == "--bind")


def _fields(mount: str) -> tuple[str, str]:
    """Return the source and the target of `SOURCE[:TARGET[:OPTIONS]]`; a colon may be escaped."""
    fields = [re.sub(r"\\(.)", r"\1", match[1]) for match in _FIELD.finditer(mount)]
    return fields[0], fields[1] if len(fields) > 1 else ""


def _normal(path: str) -> str:
    return "/" + "/".join(part for part in path.split("/") if part not in ("", "."))
