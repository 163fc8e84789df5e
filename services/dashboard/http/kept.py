"""Small files that are read once and replaced as a whole."""

import os
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from wire.errors import CorruptStore


class Kept(BaseModel):
    """The base of the contents of a file."""

    model_config = ConfigDict(extra="forbid", strict=True)


AnyKept = TypeVar("AnyKept", bound=Kept)


def read(path: Path, *shapes: type[AnyKept], what: str, lost: str) -> AnyKept | None:
    """Return the content of a file in the first shape that it has; None: there is no file.

    Args:
        path: the file.
        shapes: the shapes of this version and of earlier ones.
        what: the name of the file in a sentence, such as `file of logins`.
        lost: the sentence about what is lost without it.

    Raises:
        CorruptStore: the file is damaged; it is left as it is.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _corrupt(path, what, lost, error.strerror or "it cannot be read") from error
    for shape in shapes:
        try:
            return shape.model_validate_json(data)
        except ValidationError as error:
            failure = error
    raise _corrupt(path, what, lost, "its content is damaged") from failure


def _corrupt(path: Path, what: str, lost: str, why: str) -> CorruptStore:
    return CorruptStore(
        f"The {what} {path} cannot be read ({why}). Move it away, then: "
        f"systemctl restart hive-dashboard. {lost}"
    )


def write(path: Path, content: Kept) -> None:
    """Replace a file. A crash leaves the old file or the new one. The mode is 0600."""
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.stem}-", delete=False) as file:
        file.write(content.model_dump_json().encode())
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).replace(path)
