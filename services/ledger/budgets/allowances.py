"""The limits of budgets, from all sources.

The limits of the operator take precedence, then those of `[ledger.budgets.agents.NAME]` (or of the
hive, or of the credential), then those of the deployed agent.toml, then those of
`[ledger.budgets.agent]`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from services import config
from services.ledger.budgets.account import Amount, Key, Owner
from services.ledger.budgets.store import Source
from wire.records.ledger import BudgetKind, BudgetLimits

DOLLAR: Final = 1_000_000
NONE: Final = BudgetLimits()


class Allowances:
    """The limits that hold."""

    def __init__(
        self, configured: config.Budgets, kept: dict[tuple[Owner, Source], BudgetLimits]
    ) -> None:
        """Take the limits of the configuration, and those that were set over the bus."""
        self._configured = configured
        self._kept = kept
        self._limits: dict[Key, Amount] = {}
        """The limits as they were computed; each request needs nine of them."""

    def get(self, owner: Owner, source: Source) -> BudgetLimits:
        """Return the limits that one source sets."""
        return self._kept.get((owner, source), NONE)

    def put(self, owner: Owner, source: Source, limits: BudgetLimits) -> None:
        """Let the limits of one source hold."""
        self._kept[owner, source] = limits
        self._limits.clear()

    @contextmanager
    def tried(self, owner: Owner, source: Source, limits: BudgetLimits) -> Iterator[None]:
        """Let limits hold within the context, to see what follows from them."""
        before = dict(self._kept)
        self.put(owner, source, limits)
        try:
            yield
        finally:
            self._kept = before
            self._limits.clear()

    def drop(self, owner: Owner) -> None:
        """Drop the limits that were set for an owner."""
        for source in Source:
            self._kept.pop((owner, source), None)
        self._limits.clear()

    def owners(self) -> set[Owner]:
        """Return the owners for whom limits are set by name."""
        named = {
            BudgetKind.AGENT: self._configured.agents,
            BudgetKind.CREDENTIAL: self._configured.credentials,
        }
        return {owner for owner, _ in self._kept} | {
            Owner(kind, name) for kind, names in named.items() for name in names
        }

    def limit(self, key: Key) -> Amount:
        """Return the limit of a budget, before the operator raises it."""
        known = self._limits.get(key)
        if known is None:
            known = self._limits[key] = self._computed(key)
        return known

    def _computed(self, key: Key) -> Amount:
        dollars, tokens = key.period.value, f"{key.period}_tokens"
        layers = [*self._layers(key.owner)]
        return Amount(_first(layers, dollars), _first(layers, tokens))

    def _layers(self, owner: Owner) -> Iterator[BudgetLimits]:
        yield self.get(owner, Source.OPERATOR)
        match owner.kind:
            case BudgetKind.HIVE:
                yield _amounts(self._configured.hive)
            case BudgetKind.CREDENTIAL:
                yield _amounts(self._configured.credentials.get(owner.name))
            case BudgetKind.AGENT:
                yield _amounts(self._configured.agents.get(owner.name))
                yield self.get(owner, Source.DEPLOYED)
                yield _amounts(self._configured.agent)


def _first(layers: list[BudgetLimits], name: str) -> int:
    found = (getattr(layer, name) for layer in layers)
    return next((int(value) for value in found if value is not None), 0)


def _amounts(limits: config.BudgetLimits | None) -> BudgetLimits:
    """Return the limits of a file, which are dollars, as those of the bus."""
    if limits is None:
        return NONE
    return BudgetLimits(
        day=_millionths(limits.day),
        week=_millionths(limits.week),
        total=_millionths(limits.total),
        day_tokens=limits.day_tokens,
        week_tokens=limits.week_tokens,
        total_tokens=limits.total_tokens,
    )


def _millionths(dollars: float | None) -> int | None:
    # 0 would be no limit.
    return None if dollars is None else max(round(dollars * DOLLAR), 1)
