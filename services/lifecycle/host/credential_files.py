"""Following the files of credentials: which there are, never what is in them."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from services.inotify import Watch

log = logging.getLogger(__name__)

SHARED: Final = ("gateway/default", "gateway/default.cred", "anthropic_api_key")
"""The files of the credential for all agents; the last is that of an earlier version."""

OWN: Final = ("gateway/agents/{}", "gateway/agents/{}.cred")
"""The files of the credential of one agent."""


class CredentialFiles:
    """The credentials that the operator gives to gateways. Only the gateways read them."""

    def __init__(self, folder: Path) -> None:
        """`folder`: the directory of all credentials, which belongs to root."""
        self._folder = folder
        self._watch: Watch | None = None
        self._changed: Callable[[], None] = lambda: None
        self._known: frozenset[str] = frozenset()

    @property
    def shared(self) -> bool:
        """Whether there is a credential for all agents."""
        return any((self._folder / file).is_file() for file in SHARED)

    def own(self, name: str) -> bool:
        """Return whether there is a credential for the agent `name` alone."""
        return any((self._folder / file.format(name)).is_file() for file in OWN)

    def start(self, changed: Callable[[], None]) -> None:
        """Call `changed` after a credential has come or gone."""
        self._changed = changed
        try:
            self._watch = Watch(self._look)
        except OSError as error:
            log.error("new credentials are not noticed: %s", error)
            return
        self._follow(self._watch)
        self._known = self._found()

    def stop(self) -> None:
        """Stop following the files."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def _look(self) -> None:
        if self._watch is not None:
            self._follow(self._watch)
        found = self._found()
        if found != self._known:
            self._known = found
            self._changed()

    def _follow(self, watch: Watch) -> None:
        """Watch the directories; those below may come later, and then their parent changes."""
        below = [self._folder / "gateway", self._folder / "gateway/agents"]
        watch.set({self._folder: None, **dict.fromkeys(below)})

    def _found(self) -> frozenset[str]:
        paths = (*self._folder.glob("*"), *self._folder.glob("gateway/**/*"))
        return frozenset(str(path) for path in paths if path.is_file())
