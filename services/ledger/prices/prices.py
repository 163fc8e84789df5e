"""The prices of models, and the cost of a request.

Costs are whole millionths of a US dollar, rounded up: dollars for a million tokens are millionths
of a dollar for a token.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from services.config import ModelPrice
from wire.records.ledger import ReserveRequest, Settlement

DATE: Final = "2026-11-29"
"""The day of the table: the prices of the Anthropic API as Claude Code 2.1.329 has them."""

WEB_SEARCH: Final = 10_000
"""The price of a search: a cent."""

_HOUR: Final = 1.6
"""The price of keeping tokens for an hour, relative to five minutes."""


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars for a million tokens."""

    input: float
    output: float
    cache_read: float
    cache_write: float
    above: int = 0
    """The tokens of a prompt above which `long` is the price; 0 for never."""
    long: "Price | None" = None

    def of(self, prompt: int) -> "Price":
        """Return the price of a request with a prompt of so many tokens."""
        return self.long if self.long is not None and prompt > self.above else self


def _tier(input: float, output: float, cache_read: float | None = None) -> Price:
    return Price(input, output, input / 10 if cache_read is None else cache_read, input * 1.25)


_MODELS: Final[Mapping[str, Price]] = {
    "claude-3-haiku": Price(0.25, 1.25, 0.03, 0.3),
    "claude-3-5-haiku": _tier(0.8, 4),
    "claude-haiku-4-5": _tier(1, 5),
    "claude-haiku-5-5": Price(0.1, 0.5, 0.01, 0.125, above=100_000, long=_tier(0.5, 2.5)),
    "claude-3-5-sonnet": _tier(3, 15),
    "claude-3-7-sonnet": _tier(3, 15),
    "claude-sonnet-4": _tier(3, 15),
    "claude-sonnet-4-0": _tier(3, 15),
    "claude-sonnet-4-5": _tier(3, 15),
    "claude-sonnet-4-6": _tier(3, 15),
    "claude-sonnet-5": _tier(2, 10),
    "claude-sonnet-5-5": _tier(2, 10, 0.1),
    "claude-3-opus": _tier(15, 75),
    "claude-opus-4": _tier(15, 75),
    "claude-opus-4-0": _tier(15, 75),
    "claude-opus-4-1": _tier(15, 75),
    "claude-opus-4-5": _tier(5, 25),
    "claude-opus-4-6": _tier(5, 25),
    "claude-opus-4-7": _tier(5, 25),
    "claude-opus-4-8": _tier(5, 25),
    "claude-opus-5": _tier(5, 25),
    "claude-opus-5-5": _tier(4, 20, 0.2),
    "claude-fable-5": _tier(10, 50),
    "claude-fable-5-1": _tier(10, 50, 0.25),
    "claude-fable-5-2": _tier(8, 40, 0.2),
    "claude-mythos-5": _tier(10, 50),
    "claude-mythos-5-1": _tier(10, 50, 0.25),
    "claude-mythos-5-2": _tier(8, 40, 0.2),
}
_VARIANT: Final = re.compile(r"(-\d{8}|-latest|@\d{8})?(-v\d+(:\d+)?)?(\[[a-z0-9]+\])?")
"""The end of a model's name that does not change its price: a date, a window of the context."""


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of a request."""

    amount: int
    tokens: int
    """Tokens of all kinds."""
    unknown: bool
    """Whether the model has no price, so that the dearest one was taken."""


class Prices:
    """The prices that hold: those of the configuration, then those of the table."""

    def __init__(self, configured: Mapping[str, ModelPrice]) -> None:
        # The longest beginning of a name comes first.
        self._configured = {
            name: _configured(configured[name])
            for name in sorted(configured, key=len, reverse=True)
        }
        self._dearest = _dearest([*_MODELS.values(), *self._configured.values()])

    def most(self, request: ReserveRequest, surcharge: int = 0) -> Cost:
        """Return the most that a request may cost: all that it reads is kept for an hour.

        Args:
            request: the request.
            surcharge: the percents by which its tokens may cost more.
        """
        price, unknown = self._price(request.model)
        price = price.of(request.input_tokens)
        write = max(price.input, price.cache_read, price.cache_write * _HOUR)
        amount = request.input_tokens * write + request.output_tokens * price.output
        amount = amount * (100 + surcharge) / 100 + request.web_searches * WEB_SEARCH
        return Cost(math.ceil(amount), request.input_tokens + request.output_tokens, unknown)

    def used(self, model: str, usage: Settlement) -> Cost:
        """Return the cost of a request that `model` has answered."""
        price, unknown = self._price(model)
        prompt = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
        price = price.of(prompt)
        hour = min(usage.cache_write_hour_tokens, usage.cache_write_tokens)
        amount = (
            usage.input_tokens * price.input
            + usage.output_tokens * price.output
            + usage.cache_read_tokens * price.cache_read
            + (usage.cache_write_tokens - hour + hour * _HOUR) * price.cache_write
        )
        amount = amount * (100 + usage.surcharge) / 100 + usage.web_searches * WEB_SEARCH
        # Sums of decimal fractions are not exact: 0.1 + 0.2 must not cost a millionth more.
        tokens = prompt + usage.output_tokens
        return Cost(math.ceil(round(amount, 6)), tokens, unknown and tokens > 0)

    def _price(self, model: str) -> tuple[Price, bool]:
        """Return the price of a model, and whether it is a guess."""
        for name, price in self._configured.items():
            if model.startswith(name):
                return price, False
        plain = model.rpartition("/")[2].rpartition("anthropic.")[2]
        if known := _MODELS.get(plain[: len(plain) - len(_variant(plain))]):
            return known, False
        return self._dearest, True


def _variant(name: str) -> str:
    """Return the end of a name that does not change the price."""
    for start in range(len(name)):
        if name[start] in "-@[" and _VARIANT.fullmatch(name, start):
            return name[start:]
    return ""


def _configured(price: ModelPrice) -> Price:
    read = price.input / 10 if price.cache_read is None else price.cache_read
    write = price.input * 1.25 if price.cache_write is None else price.cache_write
    return Price(price.input, price.output, read, write)


def _dearest(prices: Iterable[Price]) -> Price:
    """Return a price that is at least each of `prices` in every part."""
    every = [one for price in prices for one in (price, price.long) if one is not None]
    return Price(
        input=max(price.input for price in every),
        output=max(price.output for price in every),
        cache_read=max(price.cache_read for price in every),
        cache_write=max(price.cache_write for price in every),
    )
