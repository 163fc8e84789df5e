"""The metrics of the hive, in the text format of Prometheus.

Import this module when somebody reads the metrics: prometheus-client takes memory.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from services.dashboard.clients.measurements import Measured
from services.dashboard.state.counts import Counts
from services.dashboard.state.tables import Row, Table, Tables
from wire.names import OPERATOR
from wire.records.approvals import ApprovalState
from wire.records.broker import MessageState, QuestionState

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4

_MILLION: Final = 1_000_000

_USAGE: Final = (
    ("memory", "memory_bytes", "The memory of the agent's container.", 1),
    ("memory_peak", "memory_peak_bytes", "The most memory since the container's start.", 1),
    ("tasks", "tasks", "The processes and threads of the agent's container.", 1),
    ("disk", "disk_bytes", "The disk space of the agent's files, when last measured.", 1),
)
_LIMITS: Final = (
    ("memory_max", "memory_limit_bytes", "The most memory of the agent's container."),
    ("tasks_max", "tasks_limit", "The most processes and threads of the agent's container."),
    ("disk_max", "disk_limit_bytes", "The most disk space of the agent's files."),
)

Labels = TypeVar("Labels", bound=tuple[str, ...])
"""The values of the labels of a metric."""


def text(tables: Tables, counts: Counts, measured: Measured) -> bytes:
    """Return all metrics in Prometheus's text format.

    Args:
        tables: the state of the hive.
        counts: the events since the dashboard started.
        measured: the figures of this moment.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Metrics(tables, counts, measured))
    return generate_latest(registry)


class _Metrics(Collector):
    """The metrics of one moment."""

    def __init__(self, tables: Tables, counts: Counts, measured: Measured) -> None:
        self._tables = tables
        self._counts = counts
        self._measured = measured

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        yield from self._of_services()
        yield from self._of_agents()
        yield from self._of_usage()
        yield from self._of_work()
        yield from self._of_money()
        yield from self._of_requests()

    def _of_services(self) -> Iterator[Metric]:
        yield _gauge(
            "service_up",
            "Whether the dashboard gets answers from the service.",
            ["service"],
            {(name,): int(bool(row["available"])) for name, row in self._rows(Table.SERVICES)},
        )

    def _of_agents(self) -> Iterator[Metric]:
        agents = self._rows(Table.AGENTS)
        yield _gauge(
            "agent_state",
            "1 for the state in which the agent's container is.",
            ["agent", "state"],
            {(name, str(row["state"])): 1 for name, row in agents},
        )
        yield _gauge(
            "agent_turn_state",
            "1 for the state in which the agent's harness is.",
            ["agent", "state"],
            {(name, str(row["turn_state"])): 1 for name, row in agents},
        )
        yield _gauge(
            "agent_context_tokens",
            "The size of the agent's context.",
            ["agent"],
            {(name,): _number(row["context_tokens"]) for name, row in agents},
        )
        for key, name, help_text in _LIMITS:
            values = {(agent,): _amount(row, key) for agent, row in agents}
            found = {labels: value for labels, value in values.items() if value is not None}
            yield _gauge(f"agent_{name}", help_text, ["agent"], found)

    def _of_usage(self) -> Iterator[Metric]:
        usage = {name: usage._asdict() for name, usage in self._measured.usage.items()}
        for key, name, help_text, unit in _USAGE:
            values = {
                (agent,): row[key] / unit for agent, row in usage.items() if row[key] is not None
            }
            yield _gauge(f"agent_{name}", help_text, ["agent"], values)
        yield _counter(
            "agent_cpu_seconds",
            "The processor time of the agent's container since its start.",
            ["agent"],
            {(a,): row["cpu"] / _MILLION for a, row in usage.items() if row["cpu"] is not None},
        )

    def _of_work(self) -> Iterator[Metric]:
        counts = self._counts
        depths = self._measured.depths
        found = {(c.recipient, str(c.state)): c.number for c in depths or ()}
        if depths is not None:  # an inbox without messages is 0, not absent: alarms need that
            for inbox in (OPERATOR, *(name for name, _ in self._rows(Table.AGENTS))):
                found.setdefault((inbox, MessageState.QUEUED.value), 0)
        yield _gauge(
            "queue_depth",
            "The messages of an inbox that are not done, by state.",
            ["inbox", "state"],
            found,
        )
        yield _counter(
            "messages", "Messages that came to a state.", ["inbox", "state"], counts.messages
        )
        turns = {(agent,): count for agent, count in counts.turns.items()}
        yield _counter("turns", "Turns that ended.", ["agent"], turns)
        yield _gauge("jobs_running", "The jobs of lifecycle.", [], {(): self._count(Table.JOBS)})
        yield _counter(
            "jobs", "Jobs of lifecycle that ended.", ["agent", "verb", "result"], counts.jobs
        )
        yield _counter(
            "crashes",
            "Containers that ended without having been stopped.",
            ["agent", "result"],
            counts.crashes,
        )

    def _of_money(self) -> Iterator[Metric]:
        counts = self._counts
        yield _counter(
            "model_requests",
            "Requests to the model API that ended.",
            ["agent", "model", "outcome"],
            counts.requests,
        )
        yield _counter(
            "tokens", "Tokens of the model API.", ["agent", "model", "kind"], counts.tokens
        )
        yield _counter(
            "cost_dollars",
            "The cost of requests to the model API.",
            ["agent", "model"],
            {labels: cost / _MILLION for labels, cost in counts.cost.items()},
        )
        budgets = [row for _, row in self._rows(Table.BUDGETS)]
        labels = ["kind", "name", "period"]
        for key, name, help_text, unit in (
            ("limit", "budget_limit_dollars", "The limit of a budget.", _MILLION),
            ("spent", "budget_spent_dollars", "The part of a budget that is spent.", _MILLION),
            ("limit_tokens", "budget_limit_tokens", "The limit of a budget in tokens.", 1),
            ("spent_tokens", "budget_spent_tokens", "The tokens of a budget that are used.", 1),
        ):
            limit = "limit_tokens" if key.endswith("tokens") else "limit"
            yield _gauge(
                name,
                help_text,
                labels,
                {
                    tuple(str(row[label]) for label in labels): _number(row[key]) / unit
                    for row in budgets
                    if row[limit]
                },
            )

    def _of_requests(self) -> Iterator[Metric]:
        yield _gauge(
            "questions_open",
            "The questions to the operator that are not answered.",
            [],
            {(): self._count(Table.QUESTIONS, state=QuestionState.OPEN, to="operator")},
        )
        yield _gauge(
            "approvals_pending",
            "The requests that wait for an approval.",
            [],
            {(): self._count(Table.APPROVALS, state=ApprovalState.PENDING)},
        )
        yield _gauge(
            "egress_pending",
            "The refused hosts about which the operator has not decided.",
            [],
            {(): self._count(Table.EGRESS)},
        )

    def _rows(self, table: Table) -> list[tuple[str, Row]]:
        return list(self._tables.rows(table).items())

    def _count(self, table: Table, **wanted: str) -> int:
        rows = self._tables.rows(table).values()
        return sum(all(row[key] == value for key, value in wanted.items()) for row in rows)


def _gauge(name: str, help_text: str, labels: list[str], values: Mapping[Labels, float]) -> Metric:
    family = GaugeMetricFamily(f"hyperhive_{name}", help_text, labels=labels)
    return _filled(family, values.items())


def _counter(
    name: str, help_text: str, labels: list[str], values: Mapping[Labels, float]
) -> Metric:
    family = CounterMetricFamily(f"hyperhive_{name}", help_text, labels=labels)
    return _filled(family, values.items())


def _filled(
    family: GaugeMetricFamily | CounterMetricFamily,
    values: Iterable[tuple[Labels, float]],
) -> Metric:
    for labels, value in sorted(values):
        family.add_metric(list(labels), value)
    return family


def _amount(row: Row, key: str) -> float | None:
    """Return a limit of an agent, if it has one."""
    limits = row["resources"]
    value = limits.get(key) if isinstance(limits, Mapping) else None
    return None if value is None else _number(value)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
