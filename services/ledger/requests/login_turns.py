"""Turns of agents with a login of their own, whose requests pass no gateway: each counts as one."""

import sqlite3
from collections.abc import Callable
from typing import Final

from services.ledger.requests import store
from services.ledger.storage.database import Change
from wire.records.ledger import Request, RequestOutcome, Turn

LOGIN: Final = "login"
"""The credential of agents that have a login of their own."""


class LoginTurn:
    """The change that counts such a turn as a request."""

    def __init__(
        self, agent: str, turn: Turn, charge: Change, settled: Callable[[Request], None]
    ) -> None:
        """Count `turn` with the budgets' `charge`; `settled` is called with the request then."""
        read = turn.input_tokens - turn.cache_read_tokens - turn.cache_write_tokens
        self._request = Request(
            id=0,
            agent=agent,
            credential=LOGIN,
            model=turn.model,
            outcome=RequestOutcome.DONE,
            started=turn.started,
            ended=turn.ended,
            input_tokens=max(read, 0),
            output_tokens=turn.output_tokens,
            cache_read_tokens=turn.cache_read_tokens,
            cache_write_tokens=turn.cache_write_tokens,
            cost=turn.cost,
        )
        self._tokens = turn.input_tokens + turn.output_tokens
        self._charge = charge
        self._settled = settled

    def save(self, db: sqlite3.Connection) -> None:
        """See Change."""
        number = store.insert(db, self._request, self._tokens)
        self._request = self._request._replace(id=number)
        self._charge.save(db)

    def adopt(self) -> None:
        """See Change."""
        self._charge.adopt()
        self._settled(self._request)
