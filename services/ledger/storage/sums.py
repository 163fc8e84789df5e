"""Sums of rows by a key. None overflows, and there are not more than can be shown.

sqlite fails when a sum is beyond 64 bits. So each figure is summed up in two halves.
"""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from wire.records.ledger import OTHER_MODELS

MOST: Final = 2**63 - 1
"""The greatest sum that is told; a greater one is told as this one."""
MAX_MODELS: Final = 20
"""The models of one agent that have sums of their own: those that cost most. An agent chooses the
names of the models that it asks for, so the sums of its other ones are joined. The models of other
agents are not affected."""

_HALF: Final = 32


@dataclass(frozen=True, slots=True)
class Sums:
    """The sums of rows that have the columns `agent`, `model` and `cost`."""

    rows: str
    """SQL of the rows, after FROM; `{where}` is the place of the condition."""
    keys: Mapping[str, str]
    """SQL of each key but the model, by its name."""
    counts: Mapping[str, str]
    """SQL of conditions by the names of the sums: in how many rows they hold. The first sum counts
    what the sums are about."""
    figures: Mapping[str, str]
    """SQL of what is summed up, which is not negative, by the names of the sums."""
    flags: Mapping[str, str]
    """SQL of conditions by names: whether they hold in a row."""

    def query(self, key: str, where: str) -> str:
        """Return the query for the sums by `key` of the rows that match; see `row`."""
        # All names are written in this room; values from outside are bound.
        parts, rows = self._parts(), self.rows.format(where=where)
        sums = ", ".join(f"{how}({sql}) AS {name}" for name, (how, sql) in parts.items())
        if key != "model":
            return (
                f"SELECT {self.keys[key]} AS key, {sums} FROM {rows} "  # noqa: S608
                "GROUP BY 1 ORDER BY 1"
            )
        joined = ", ".join(f"{how}({name}) AS {name}" for name, (how, _) in parts.items())
        order = f"cost_high * {2.0**_HALF} + cost_low DESC, {next(iter(self.counts))} DESC, model"
        return (
            f"WITH each_model AS (SELECT agent, model, {sums} FROM {rows} "  # noqa: S608
            "GROUP BY agent, model), placed AS (SELECT *, row_number() OVER "
            f"(PARTITION BY agent ORDER BY {order}) AS place FROM each_model) "
            f"SELECT CASE WHEN place <= {MAX_MODELS} THEN model ELSE '{OTHER_MODELS}' END AS key, "
            f"{joined} FROM placed GROUP BY 1 ORDER BY 1"
        )

    def row(self, row: sqlite3.Row) -> dict[str, Any]:
        """Return the sums of a row of the answer, by their names."""
        counts = {name: row[name] for name in self.counts}
        figures = {
            name: min((row[f"{name}_high"] << _HALF) + row[f"{name}_low"], MOST)
            for name in self.figures
        }
        return {**counts, **figures, **{name: bool(row[name]) for name in self.flags}}

    def _parts(self) -> dict[str, tuple[str, str]]:
        """Return the parts of all sums by their names: the function, and what it is applied to."""
        parts = {name: ("sum", sql) for name, sql in self.counts.items()}
        for name, sql in self.figures.items():
            parts[f"{name}_high"] = ("sum", f"({sql}) >> {_HALF}")
            parts[f"{name}_low"] = ("sum", f"({sql}) & {2**_HALF - 1}")
        return parts | {name: ("max", sql) for name, sql in self.flags.items()}
