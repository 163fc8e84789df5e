"""The upstream of a project: which addresses and directories it may be."""

import re
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from services import egress
from services.egress import Host
from wire.errors import InvalidArgument

MAX_SOURCE: Final = 1000
"""The most characters of a source."""

HTTPS_PORT: Final = 443
_SSH_PORT: Final = 22
_USER: Final = re.compile(r"[A-Za-z0-9._][A-Za-z0-9._-]{0,63}")
_PATH: Final = re.compile(r"/?[A-Za-z0-9._~%+@=,!:&()'*$-][A-Za-z0-9._~%+@=,!:&()'*$/-]*")
_SCP: Final = re.compile(r"(?:(?P<user>[^@/:]+)@)?(?P<host>[^@/:]+):(?P<path>.+)")
_OURS: Final = ("/var/lib/hyperhive", "/var/lib/machines", "/run", "/proc", "/sys", "/dev")
"""Directories to which agents may write, or that are not what they seem to be for a service."""
PRIVATE: Final = ("/tmp", "/var/tmp")  # noqa: S108 - the host's, which the unit cannot see


class Kind(StrEnum):
    """The ways to an upstream."""

    HTTPS = "https"
    SSH = "ssh"
    DIRECTORY = "directory"
    NONE = "none"


class Source(NamedTuple):
    """A checked upstream."""

    kind: Kind
    text: str
    """The address or path, as git takes it; empty for NONE."""
    host: Host = ""
    """The host of HTTPS and SSH."""
    port: int = 0
    user: str = ""


def parse(text: str) -> Source:
    """Return the upstream that `text` is.

    Args:
        text: `https://HOST/PATH`, `ssh://USER@HOST/PATH`, `USER@HOST:PATH`, the absolute path of a
            directory, or nothing for a project that lives in the hive alone.

    Raises:
        InvalidArgument: it is none of these; the sentence says why, without a password.
    """
    if not text:
        return Source(Kind.NONE, "")
    if len(text) > MAX_SOURCE or not text.isprintable():
        raise InvalidArgument(
            f"The source of a project is at most {MAX_SOURCE} printable characters long."
        )
    if text.startswith("/"):
        return _directory(text)
    scheme, colon, _ = text.partition("://")
    if colon:
        if scheme not in ("https", "ssh"):
            raise InvalidArgument(
                f"{scheme[:20]}:// is not supported, because nothing would prove who answers. Use "
                "https:// or ssh://, or the absolute path of a directory on this host."
            )
        return _url(text, Kind(scheme))
    if (found := _SCP.fullmatch(text)) and not text.startswith("-"):
        return _checked(Kind.SSH, text, found["host"], None, found["user"] or "", found["path"])
    raise InvalidArgument(
        f"{text[:60]!r} is not a valid source of a project. Use https://HOST/PATH, "
        "ssh://USER@HOST/PATH, USER@HOST:PATH, or the absolute path of a directory on this host."
    )


def _directory(text: str) -> Source:
    path = PurePosixPath(text)
    if ".." in path.parts:
        raise InvalidArgument(f"The path {text[:200]!r} must not contain '..'.")
    for above in _OURS:
        if path.is_relative_to(above):
            raise InvalidArgument(
                f"{text[:200]!r} lies below {above}, where agents or other services write: what is "
                "there is not the operator's. Copy the repository to another directory."
            )
    for above in PRIVATE:
        if path.is_relative_to(above):
            raise InvalidArgument(
                f"{text[:200]!r} lies below {above}, which the service has for itself alone. Use a "
                "directory that outlives a restart."
            )
    return Source(Kind.DIRECTORY, str(path))


def _url(text: str, kind: Kind) -> Source:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise InvalidArgument(
            f"The {kind} address is not valid. Check its host and port."
        ) from None
    if parts.password is not None:
        raise InvalidArgument(
            "The address contains a password, which everybody would see. Leave it out, and name a "
            "credential instead (option --credential)."
        )
    if parts.query or parts.fragment or "?" in text or "#" in text:
        raise InvalidArgument("The address of a repository has no '?' and no '#'. Leave them out.")
    return _checked(kind, text, parts.hostname or "", port, parts.username or "", parts.path)


def _checked(kind: Kind, text: str, host: str, port: int | None, user: str, path: str) -> Source:
    if user and not _USER.fullmatch(user):
        raise InvalidArgument(f"{user[:40]!r} is not a valid user of an address.")
    if not _PATH.fullmatch(path) or path.strip("/") == "":
        raise InvalidArgument(
            f"{path[:200]!r} is not a valid path of a repository in an address. Encode other "
            "characters as %20 and the like."
        )
    try:
        # urlsplit has removed the brackets of an address of IPv6.
        checked = egress.parse_host(host)
    except ValueError as error:
        raise InvalidArgument(f"The host {host[:80]!r} is not valid: {error}.") from None
    usual = HTTPS_PORT if kind is Kind.HTTPS else _SSH_PORT
    return Source(kind, text, checked, usual if port is None else port, user)
