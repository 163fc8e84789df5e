"""Warnings to the operator that something which all agents share is nearly used up."""

import logging
import time
from collections.abc import Callable, Iterable
from typing import Final

from services.lifecycle.host.shared import Shortage
from services.lifecycle.notices.notice import Notice, notices
from wire import names

log = logging.getLogger(__name__)

KIND: Final = "shared-limit"


class SharedLimits:
    """Checks after events that others already have; owns no task and no timer."""

    def __init__(
        self, shortages: Callable[[], Iterable[Shortage]], tell: Callable[[Notice], None]
    ) -> None:
        """Do nothing before `check`.

        Args:
            shortages: returns the resources that are nearly used up.
            tell: sends a message.
        """
        self._shortages = shortages
        self._tell = tell
        self._told: dict[str, int] = {}

    def check(self) -> None:
        """Warn about each shortage, at most once an hour."""
        hour = int(time.time() // 3600)
        for shortage in self._shortages():
            if self._told.get(shortage.resource) == hour:
                continue
            self._told[shortage.resource] = hour
            log.warning("%s", shortage.sentence)
            key = f"{KIND}:{shortage.resource}:{hour}"
            for notice in notices(KIND, shortage.sentence, key, [names.OPERATOR]):
                self._tell(notice)
