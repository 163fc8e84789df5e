"""The record that lifecycle stores for each agent, and the phases of an agent's existence."""

import time
import uuid
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from services.lifecycle.agents.agent import Spec
from services.lifecycle.agents.crashes import Crashes
from services.lifecycle.agents.start import Start
from wire.errors import Conflict
from wire.records.lifecycle import NetworkMode


class Phase(StrEnum):
    """The parts of an agent that exist. The next start completes or undoes a half-done phase."""

    CREATING = "creating"
    PRESENT = "present"
    DESTROYING = "destroying"
    PURGING = "purging"
    KEPT = "kept"
    """Destroyed. The data and the uid range are kept for an agent of the same name."""


PHASES: Final = {
    Phase.CREATING: frozenset({Phase.PRESENT, Phase.DESTROYING, Phase.PURGING}),
    Phase.PRESENT: frozenset({Phase.DESTROYING, Phase.PURGING}),
    Phase.DESTROYING: frozenset({Phase.KEPT, Phase.PURGING}),
    Phase.PURGING: frozenset({Phase.DESTROYING}),
    Phase.KEPT: frozenset({Phase.CREATING, Phase.PURGING}),
}
"""The phases that may follow each phase. After `purging` the record is removed."""


@dataclass
class Record:
    """The stored state of one agent. The attributes are the columns of its table."""

    name: str
    uid_base: int
    machine_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    phase: Phase = Phase.CREATING
    model: str = ""
    enabled: bool = True
    seen: str = ""
    """The invocation whose container was READY and has not been seen ending."""
    excused: str = ""
    """The invocation that a job ends. Its end is not a crash."""
    boot: str = ""
    """The host's boot in which `seen` was noted."""
    port: int = 0
    """The port of the agent's page; 0 for none yet. After an import two records may share one."""
    built: str = ""
    """The version of Hyperhive that created the container."""
    asleep: bool = False
    """Whether the container is stopped until there is a message for the agent."""
    settings: dict[str, dict[str, int | str]] = field(default_factory=dict)
    """The operator's settings beside the configuration, `resources`, the last start, `started`, and
    the crashes since then, `crashes`."""
    destroyed: int = 0
    """The time of the destruction, in microseconds since 1970; 0 for an existing agent."""
    deployed: str = ""
    """The commit of the deployed configuration; empty when there never was one."""
    network: NetworkMode = NetworkMode.HOST
    """The network that the container's files were last made for."""
    keeps_host: bool = False
    """Whether the container keeps the host's network until the next deployment, because a version
    without gateways created it."""

    def enter(self, phase: Phase) -> None:
        """Enter `phase`.

        Raises:
            Conflict: `phase` may not follow the current phase.
        """
        if phase not in PHASES[self.phase]:
            raise Conflict(f"{self.name} is {self.phase}; it cannot become {phase}.")
        self.phase = phase
        self.destroyed = time.time_ns() // 1000 if phase is Phase.KEPT else 0

    @property
    def spec(self) -> Spec:
        """The values that the container is created from."""
        return Spec(
            self.name,
            self.uid_base,
            self.machine_id,
            self.model,
            self.resources,
            self.deployed,
            self.started,
            self.network,
            self.keeps_host,
            self.port,
        )

    @property
    def started(self) -> Start | None:
        """The last start of the container; None if there was none that the agent is told of."""
        return Start.of(self.settings.get("started", {}))

    @started.setter
    def started(self, start: Start) -> None:
        self.settings = {**self.settings, "started": start.values()}

    @property
    def crashes(self) -> Crashes:
        """The crashes of the container since the last job."""
        return Crashes.of(self.settings.get("crashes", {}))

    @crashes.setter
    def crashes(self, crashes: Crashes) -> None:
        self.settings = {**self.settings, "crashes": crashes.values()}

    @property
    def resources(self) -> dict[str, int | str]:
        """The limits that the operator has set beside the configuration."""
        return dict(self.settings.get("resources", {}))

    @resources.setter
    def resources(self, values: dict[str, int | str]) -> None:
        self.settings = {**self.settings, "resources": values}
