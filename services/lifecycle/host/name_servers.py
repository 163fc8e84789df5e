"""Following the host's resolv.conf, and the links that lead to it."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from services.inotify import Watch
from services.lifecycle.host import settings

log = logging.getLogger(__name__)

MAX_LINKS: Final = 16


class NameServers:
    """The host's /etc/resolv.conf. A change is noticed at once."""

    def __init__(self, root: Path = Path("/")) -> None:
        """`root`: the root directory of the host; differs from / only in tests."""
        self._root = root
        self._watch: Watch | None = None
        self._text = ""
        self._changed: Callable[[], None] = lambda: None

    def start(self, changed: Callable[[], None]) -> None:
        """Call `changed` after each change of the text."""
        self._changed = changed
        try:
            self._watch = Watch(self._look)
        except OSError as error:
            log.error("changes of /etc/resolv.conf are not noticed: %s", error)
            return
        self._follow(self._watch)
        self._text = settings.resolv_conf(self._root)

    def stop(self) -> None:
        """Stop following the file."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def _look(self) -> None:
        if self._watch is not None:
            self._follow(self._watch)
        text = settings.resolv_conf(self._root)
        if text != self._text:
            self._text = text
            self._changed()

    def _follow(self, watch: Watch) -> None:
        """Watch the places, until none has changed before it was watched."""
        watched: dict[Path, set[str]] = {}
        while (places := self._places()) != watched:
            watch.set(places)
            watched = places

    def _places(self) -> dict[Path, set[str]]:
        """Return the directories and names that decide which text the path leads to."""
        places: dict[Path, set[str]] = {}
        path = self._root / "etc/resolv.conf"
        for _link in range(MAX_LINKS):
            # A directory that is missing, such as /run/systemd/resolve, may come later.
            missing = path
            while not missing.parent.is_dir() and missing.parent != missing:
                missing = missing.parent
            places.setdefault(missing.parent, set()).add(missing.name)
            if not path.is_symlink():
                break
            target = path.readlink()
            path = self._root / str(target)[1:] if target.is_absolute() else path.parent / target
        return places
