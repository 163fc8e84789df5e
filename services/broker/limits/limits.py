"""The limits on each sender: recipients, size of a text, and rate."""

import time
from collections.abc import Callable
from typing import Final

from services.broker.limits.rate import Rate, RateLimiter
from services.config import MAX_BODY_BYTES, BrokerConfig, SendLimits
from wire.errors import AccessDenied, InvalidArgument, LimitExceeded
from wire.names import ALL_AGENTS
from wire.principal import Principal

MAX_COPIES_BYTES: Final = 2 * 1024 * 1024
"""The most bytes of all copies of a message to `*` together. They are written in one transaction,
and all other writers wait for it."""

_UNSET: Final = SendLimits()


class Limits:
    """The limits of the configuration.

    They hold for agents; an agent with a section of its own has its own limits. For the operator
    only the size of a text is limited. The services of the hive have none of these limits, or an
    agent could keep them from reporting on it. They have a rate of their own, so that a service
    that runs wild does not fill the disk.
    """

    def __init__(self, config: BrokerConfig, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` is in seconds."""
        self._config = config
        self._allowance = RateLimiter(clock)

    def check_recipient(self, who: Principal, to: str) -> None:
        """Check that `who` may write to `to`; everybody may write to itself.

        Raises:
            AccessDenied: it may not.
        """
        allowed = self._of(who).may_send_to
        if not who.is_agent or to in (who.name, *allowed) or ALL_AGENTS in allowed:
            return
        names = ", ".join(allowed) if allowed else "nobody"
        raise AccessDenied(
            f"{who.name} may not write to {to[:64]!r}, only to: {names} (may_send_to in the "
            f"section [broker.agents.{who.name}] of hyperhive.toml). Ask the operator to change it."
        )

    def spend(self, who: Principal, text: str, copies: int = 1) -> None:
        """Check a text of `who` and count it towards the rate of `who`.

        Args:
            who: the sender.
            text: its text.
            copies: the number of recipients.

        Raises:
            InvalidArgument: the text is empty.
            LimitExceeded: the text is too large, or its copies together are, or `who` sends too
                much; in the last case the sentence says when to try again.
        """
        size = len(text.encode())
        self._check_size(who, text, size)
        if copies > 1 and copies * size > MAX_COPIES_BYTES:
            raise LimitExceeded(
                f"The text has {size} bytes, and {copies} agents get a copy; all copies together "
                f"may have at most {MAX_COPIES_BYTES} bytes. Shorten it, or write to fewer agents."
            )
        if who.is_agent:
            own = self._of(who)
            rate = Rate(
                own.messages_per_hour or self._config.agent_messages_per_hour,
                own.bytes_per_hour or self._config.agent_bytes_per_hour,
            )
            setting = self._section(who)
        elif not who.is_operator:
            rate = Rate(self._config.hive_messages_per_hour)
            setting = "hive_messages_per_hour in the section [broker]"
        else:
            return
        self._allowance.spend(who, rate, size, copies=copies, setting=setting)

    def _check_size(self, who: Principal, text: str, size: int) -> None:
        if not text.strip():
            raise InvalidArgument("The text is empty; write something.")
        most = self._of(who).max_body_bytes or self._config.max_body_bytes
        if not who.is_agent and not who.is_operator:
            most = MAX_BODY_BYTES
        if size > most:
            raise LimitExceeded(
                f"The text has {size} bytes; at most {most} are allowed (max_body_bytes in the "
                f"{self._section(who)} of hyperhive.toml). Write it to a file and send the path."
            )

    def _of(self, who: Principal) -> SendLimits:
        return self._config.agents.get(who.name, _UNSET) if who.is_agent else _UNSET

    def _section(self, who: Principal) -> str:
        """Return the section of hyperhive.toml that sets the limits of `who`."""
        own = who.is_agent and who.name in self._config.agents
        return f"section [broker.agents.{who.name}]" if own else "section [broker]"
