"""The figures of a bench: results/NAME.json, and the table of it in README.md.

    report = Report("messages", {"samples": 2000})
    floor = Floor("bare D-Bus round trip", 0.41)
    report.add("wake latency, p50", 1.2, "ms", floor)
    report.publish(quick=False)

A figure alone says little: machines differ. So each stands beside a floor that was measured in the
same run, with the ratio of both; a limit or a count has no floor.
`python -m bench.report` renders the tables again.
"""

import json
import os
import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
RESULTS: Final = HERE / "results"
README: Final = HERE / "README.md"

_LOAD: Final = round(os.getloadavg()[0], 1)
_BLOCK: Final = re.compile(r"<!-- table: ([a-z0-9-]+) -->\n(.*?)<!-- end -->", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Floor:
    """The cheapest thing that a figure can be compared with, in the figure's unit."""

    what: str
    value: float


@dataclass(frozen=True, slots=True)
class Figure:
    """One measurement; `unit` is such as "ms", "messages/s", "MB"."""

    what: str
    value: float
    unit: str
    floor: Floor | None = None

    @property
    def ratio(self) -> float | None:
        """The figure in multiples of its floor."""
        return _rounded(self.value / self.floor.value) if self.floor else None


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine of a measurement."""

    cores: int
    memory_gib: int
    kernel: str
    system: str
    python: str
    load: float | None = None
    """The processes that wanted to run when the bench began: a busy machine is slow."""


def this_machine() -> Machine:
    """Return the machine that this runs on."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(
        cores=len(os.sched_getaffinity(0)),
        memory_gib=round(pages / 2**30),
        kernel=".".join(platform.release().split(".")[:2]),
        system=platform.freedesktop_os_release().get("PRETTY_NAME", "unknown"),
        python=platform.python_version(),
        load=_LOAD,
    )


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


@dataclass(slots=True)
class Report:
    """The figures of one run of the bench `name`, and the parameters that it ran with."""

    name: str
    parameters: Mapping[str, object]
    figures: list[Figure] = field(default_factory=list)
    date: str = field(default_factory=_today)
    machine: Machine = field(default_factory=this_machine)

    def add(self, what: str, value: float, unit: str, floor: Floor | None = None) -> Figure:
        """Add a figure."""
        rounded = Floor(floor.what, _rounded(floor.value)) if floor else None
        figure = Figure(what, _rounded(value), unit, rounded)
        self.figures.append(figure)
        return figure

    def table(self) -> str:
        """Return the figures as a Markdown table."""
        load = "" if self.machine.load is None else f", load {self.machine.load:g}"
        return "\n".join(
            [
                f"{self.date}, {self.machine.cores} cores, {self.machine.memory_gib} GiB,"
                f" {self.machine.system}, kernel {self.machine.kernel},"
                f" Python {self.machine.python}{load}; {_listed(self.parameters)}.",
                "",
                "| figure | value | floor | ratio |",
                "|---|---|---|---|",
                *(_row(figure) for figure in self.figures),
            ]
        )

    def publish(self, *, quick: bool) -> None:
        """Print the table; unless it was a smoke run, keep it in results/ and in README.md."""
        print(f"\n{self.table()}\n")
        if quick:
            print("A quick run: its figures mean nothing and are not kept.")
            return
        save(self)
        render()
        print(f"Kept in bench/results/{self.name}.json and bench/README.md.")


def save(report: Report, results: Path = RESULTS) -> None:
    """Write results/NAME.json."""
    results.mkdir(exist_ok=True)
    content = {
        "date": report.date,
        "machine": asdict(report.machine),
        "parameters": dict(report.parameters),
        "figures": [{**asdict(figure), "ratio": figure.ratio} for figure in report.figures],
    }
    text = json.dumps(content, indent=2, ensure_ascii=False)
    (results / f"{report.name}.json").write_text(f"{text}\n")


def load(path: Path) -> Report:
    """Return the report that `save` wrote to `path`."""
    content = json.loads(path.read_text())
    figures = [
        Figure(one["what"], one["value"], one["unit"], one["floor"] and Floor(**one["floor"]))
        for one in content["figures"]
    ]
    machine = Machine(**content["machine"])
    return Report(path.stem, content["parameters"], figures, content["date"], machine)


def filled(readme: str, results: Path = RESULTS) -> str:
    """Return the text of README.md with the tables of results/; one without results is empty."""

    def block(match: re.Match[str]) -> str:
        path = results / f"{match[1]}.json"
        table = f"{load(path).table()}\n" if path.exists() else ""
        return f"<!-- table: {match[1]} -->\n{table}<!-- end -->"

    return _BLOCK.sub(block, readme)


def tables(readme: str) -> list[str]:
    """Return the names of the benches that have a table in the text of README.md."""
    return [match[1] for match in _BLOCK.finditer(readme)]


def render() -> None:
    """Put the tables of results/ into README.md."""
    README.write_text(filled(README.read_text()))


def _row(figure: Figure) -> str:
    value = f"{_shown(figure.value)} {figure.unit}"
    if figure.floor is None:
        return f"| {figure.what} | {value} | | |"
    floor = f"{figure.floor.what}: {_shown(figure.floor.value)}"
    return f"| {figure.what} | {value} | {floor} | {_shown(figure.ratio or 0)} |"


def _listed(parameters: Mapping[str, object]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in parameters.items())


def _rounded(value: float) -> float:
    """Return `value` with three significant digits; more of them would be noise."""
    return float(f"{value:.3g}")


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:g}"


if __name__ == "__main__":
    render()
    sys.exit(0)
