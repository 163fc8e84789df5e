"""Tokens that systemd passes to a service as credentials."""

import os
from pathlib import Path

from services.errors import ConfigError


def directory() -> Path | None:
    """Return the directory of the credentials that systemd has passed; None: it passed none."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    return Path(folder) if folder else None


def token(file: Path, source: str) -> str | None:
    """Return the token in `file`, or None if there is no such file.

    Args:
        file: the credential.
        source: the path from which systemd has taken it, for the sentence of an error.

    Raises:
        ConfigError: the file cannot be read, or is not one line of printable ASCII characters
            without spaces.
    """
    try:
        found = file.read_text().strip()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        found = ""
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}.") from error
    if not found.isascii() or not found.isprintable() or " " in found or not found:
        raise ConfigError(
            f"{source} is not a valid token: write one line of printable ASCII characters without "
            "spaces into it."
        )
    return found
