"""The counts of tokens that the records of turns, requests and costs have in common."""

from typing import Protocol


class Tokens(Protocol):
    """A record with counts of tokens."""

    @property
    def input_tokens(self) -> int:
        """All tokens that the model read, with those of its cache."""

    @property
    def output_tokens(self) -> int:
        """The tokens that the model wrote."""

    @property
    def cache_read_tokens(self) -> int:
        """The tokens that the model read from its cache."""

    @property
    def cache_write_tokens(self) -> int:
        """The tokens that were kept in the cache."""


def token_counts(record: Tokens) -> dict[str, int]:
    """Return the counts by the names that they have in JSON."""
    return {
        "input_tokens": record.input_tokens,
        "output_tokens": record.output_tokens,
        "cache_read_tokens": record.cache_read_tokens,
        "cache_write_tokens": record.cache_write_tokens,
    }
