"""The settings of one agent: a file that lifecycle writes, in effect as soon as it changes."""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, NoReturn, cast, get_args
from urllib.parse import urlsplit

from services.egress import Rule, parse_list
from services.gateway.credentials import Auth
from services.gateway.forge import site
from services.gateway.forge.site import Site
from services.inotify import DirectoryWatch

log = logging.getLogger(__name__)

DIRECTORY: Final = Path("/run/hyperhive/gateway")
MAX_BYTES: Final = 256 * 1024


class Network(StrEnum):
    """The network of a container."""

    GATEWAY = "gateway"
    HOST = "host"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one agent; the default lets nothing out."""

    network: Network = Network.NONE
    rules: tuple[Rule, ...] = ()
    """The names and addresses that the agent may reach."""
    upstream: str = ""
    """The address of the Messages API, without /v1; empty while it is not known."""
    auth: Auth = "auto"
    """The header of the credential."""
    scripted: bool = False
    """Whether the upstream is a scripted model, which needs no credential."""
    own_upstream: bool = False
    """Whether the upstream is for this agent alone: the credential for all agents does not go
    there."""
    forge: Site | None = None
    """The forge in which the agent has an account."""


def parse(text: str) -> Settings:
    """Return the settings in `text`.

    Raises:
        ValueError: it is not a valid file; the text is the reason.
    """
    values = json.loads(text)
    if not isinstance(values, dict):
        raise ValueError("it is not an object")
    egress, upstream = values.get("egress", []), values.get("upstream", "")
    scripted, own = values.get("scripted", False), values.get("own_upstream", False)
    if not isinstance(egress, list) or not all(isinstance(rule, str) for rule in egress):
        raise ValueError("egress is not a list of texts")
    if not isinstance(upstream, str) or (upstream and not _is_url(upstream)):
        raise ValueError("upstream is not an http or https address")
    if not isinstance(scripted, bool):
        raise ValueError("scripted is neither true nor false")
    if not isinstance(own, bool):
        raise ValueError("own_upstream is neither true nor false")
    return Settings(
        Network(str(values.get("network"))),
        parse_list(egress),
        upstream.rstrip("/"),
        _auth(values.get("auth", "auto")),
        scripted,
        own,
        _forge(values.get("forge")),
    )


def _forge(value: object) -> Site | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise ValueError("forge is not an object")
    url, account = value.get("url"), value.get("account")
    if not isinstance(url, str) or not isinstance(account, str) or not account:
        raise ValueError("forge has no url and account")
    return site.parse(url, account)


def _auth(value: object) -> Auth:
    for auth in get_args(Auth):
        if value == auth:
            return cast(Auth, auth)
    raise ValueError("auth is not auto, key or bearer")


def _is_url(text: str) -> bool:
    parts = urlsplit(text)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and text.isprintable()


class SettingsFile:
    """The file NAME.json of one agent, followed with inotify."""

    def __init__(
        self, directory: Path, agent: str, changed: Callable[[], None] = lambda: None
    ) -> None:
        """Read the file of `agent`; `changed` is called after it was read again."""
        self._directory = directory
        self._changed = changed
        self._path = directory / f"{agent}.json"
        self.current = Settings()
        self.read()

    def read(self) -> None:
        """Read the file. Without a valid one nothing is let out."""
        try:
            with self._path.open(encoding="utf-8") as file:
                text = file.read(MAX_BYTES)
            self.current = parse(text)
        except FileNotFoundError:
            self.current = Settings()
        except (OSError, ValueError) as error:
            log.error("%s cannot be used, so that nothing is let out: %s.", self._path, error)
            self.current = Settings()

    async def follow(self) -> NoReturn:
        """Read the file whenever it changes, until cancelled.

        Raises:
            OSError: the directory does not exist, or there are too many watches.
        """
        with DirectoryWatch(self._directory) as watch:
            self._read_again()  # it may have changed before the watch began
            while True:
                await watch.change()
                self._read_again()

    def _read_again(self) -> None:
        self.read()
        self._changed()
