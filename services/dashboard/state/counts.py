"""The events since the start of the dashboard, counted from the signals of the services."""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from wire.records.broker import MessageChange
from wire.records.ledger import OTHER_MODELS, Request, RequestOutcome
from wire.records.lifecycle import Crashed, JobRemoved

MAX_MODELS: Final = 20
"""The models of one agent that are told apart. An agent chooses the name that its requests ask for,
and each name is kept for as long as the dashboard runs: it takes no place of another agent's, and
none at all if no model of that name has answered."""


class Counts:
    """Counts that only grow. The keys of each are the labels of a metric."""

    def __init__(self) -> None:
        self.messages: Counter[tuple[str, str]] = Counter()
        """By inbox and state: messages that came to the state."""
        self.message_changes = 0
        """Grows with each change of messages, so that others know when to ask for more."""
        self.turns: Counter[str] = Counter()
        """By agent."""
        self.requests: Counter[tuple[str, str, str]] = Counter()
        """By agent, model and outcome: requests to the model API that ended."""
        self.tokens: Counter[tuple[str, str, str]] = Counter()
        """By agent, model and kind of the tokens."""
        self.cost: Counter[tuple[str, str]] = Counter()
        """By agent and model, in millionths of a US dollar."""
        self.jobs: Counter[tuple[str, str, str]] = Counter()
        """By agent, verb and result."""
        self.crashes: Counter[tuple[str, str]] = Counter()
        """By agent and result of the unit."""
        self._models: dict[str, set[str]] = {}

    def add_messages(self, changes: Iterable[MessageChange]) -> None:
        """Count messages that came to another state."""
        self.message_changes += 1
        for change in changes:
            self.messages[change.recipient, change.state] += 1

    def add_turn(self, agent: str) -> None:
        """Count a turn."""
        self.turns[agent] += 1

    def add_request(self, request: Request) -> None:
        """Count a request to the model API with its tokens and its cost."""
        model = self._model(request)
        self.requests[request.agent, model, request.outcome] += 1
        self.cost[request.agent, model] += request.cost
        for kind, tokens in (
            ("input", request.input_tokens),
            ("output", request.output_tokens),
            ("cache_read", request.cache_read_tokens),
            ("cache_write", request.cache_write_tokens),
        ):
            self.tokens[request.agent, model, kind] += tokens

    def add_job(self, job: JobRemoved) -> None:
        """Count a job that has ended."""
        self.jobs[job.agent, job.verb, job.result] += 1

    def add_crash(self, agent: str, crash: Crashed) -> None:
        """Count a container that ended without having been stopped."""
        self.crashes[agent, crash.result] += 1

    def _model(self, request: Request) -> str:
        if not request.model:
            return "unknown"
        known = self._models.setdefault(request.agent, set())
        if request.model not in known:
            if len(known) >= MAX_MODELS or request.outcome is not RequestOutcome.DONE:
                return OTHER_MODELS
            known.add(request.model)
        return request.model
