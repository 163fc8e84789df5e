"""The prices of models."""

from pathlib import Path

import pytest

from services.config import ModelPrice
from services.ledger.prices.prices import DATE, Prices
from wire.records import decode
from wire.records.ledger import ReserveRequest, Settlement

MILLION = 1_000_000
README = Path(__file__).parents[1] / "README.md"


KNOWN = Prices({})


def cost(model: str, prices: Prices = KNOWN, /, **used: int) -> tuple[int, int, bool]:
    found = prices.used(model, decode(Settlement, {"outcome": "done", **used}))
    return found.amount, found.tokens, found.unknown


@pytest.mark.parametrize(
    "model",
    [
        "claude-opus-4-5",
        "claude-opus-4-5-20251101",
        "claude-opus-4-5@20251101",
        "claude-opus-4-5[1m]",
        "claude-opus-4-5-20251101[1m]",
        "us.anthropic.claude-opus-4-5-20251101-v1:0",
        "anthropic/claude-opus-4-5",
    ],
)
def test_variants_of_a_name_have_its_price(model: str) -> None:
    assert cost(model, input_tokens=MILLION) == (5 * MILLION, MILLION, False)


def test_each_kind_of_token_has_its_price() -> None:
    used = {"input_tokens": 1, "output_tokens": 2, "cache_read_tokens": 10}
    assert cost("claude-opus-4-5", **used) == (5 + 50 + 5, 13, False)
    assert cost("claude-opus-4-5", cache_write_tokens=4) == (25, 4, False)
    hour = cost("claude-opus-4-5", cache_write_tokens=4, cache_write_hour_tokens=2)
    assert hour == (13 + 20, 4, False), "an hour costs twice the price of what is read"
    assert cost("claude-opus-4-5", web_searches=2)[0] == 20_000
    assert cost("claude-sonnet-4", cache_read_tokens=1) == (1, 1, False), "rounded up"


def test_a_surcharge_is_for_tokens_alone() -> None:
    used = {"input_tokens": 100, "output_tokens": 100, "web_searches": 1}
    assert cost("claude-opus-4-5", **used, surcharge=10)[0] == 3300 + 10_000
    wanted = ReserveRequest("default", "claude-opus-4-5", 100, 100, web_searches=2)
    assert KNOWN.most(wanted).amount == 1000 + 2500 + 20_000
    assert KNOWN.most(wanted, 10).amount == 1100 + 2750 + 20_000


def test_a_long_prompt_may_cost_more() -> None:
    assert cost("claude-haiku-5-5", input_tokens=100_000)[0] == 10_000
    assert cost("claude-haiku-5-5", cache_read_tokens=1, input_tokens=100_000)[0] == 50_001


@pytest.mark.parametrize("model", ["", "claude-opus-6", "claude-opus-4-55", "gpt-9", "scripted"])
def test_an_unknown_model_costs_as_much_as_the_dearest(model: str) -> None:
    assert cost(model, output_tokens=1) == (75, 1, True)
    assert cost(model) == (0, 0, False), "nothing was used"


def test_the_configuration_comes_first() -> None:
    prices = Prices(
        {
            "local-": ModelPrice(input=0, output=0),
            "local-large": ModelPrice(input=1, output=2, cache_read=0.5, cache_write=3),
            "claude-opus-4-5": ModelPrice(input=100, output=200),
        }
    )
    assert cost("local-small", prices, output_tokens=MILLION) == (0, MILLION, False)
    large = {"input_tokens": 1, "output_tokens": 1, "cache_read_tokens": 2, "cache_write_tokens": 1}
    assert cost("local-large-2", prices, **large) == (1 + 2 + 1 + 3, 5, False)
    assert cost("claude-opus-4-5", prices, cache_read_tokens=1) == (10, 1, False)
    assert cost("unheard-of", prices, output_tokens=1) == (200, 1, True)


def test_the_most_is_at_least_every_use() -> None:
    prices = Prices({})
    for model in ("claude-opus-4-5", "claude-haiku-5-5", "unheard-of"):
        most = prices.most(ReserveRequest("default", model, 200_000, 100))
        for kind in ("input_tokens", "cache_read_tokens", "cache_write_tokens"):
            used = {kind: 200_000, "output_tokens": 100, "cache_write_hour_tokens": 200_000}
            amount, tokens, _ = cost(model, prices, **used)
            assert amount <= most.amount
            assert tokens == most.tokens


def test_the_readme_has_the_date_of_the_table() -> None:
    assert f"the prices of the Anthropic API of {DATE}." in README.read_text()
