"""The record that lifecycle keeps of each agent, and the phases of its existence."""

import time
import uuid
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from services.lifecycle.agents.agent import Spec
from wire.errors import Conflict


class Phase(StrEnum):
    """How much of an agent exists; what is half done when lifecycle dies is put right on start."""

    CREATING = "creating"
    PRESENT = "present"
    DESTROYING = "destroying"
    PURGING = "purging"
    KEPT = "kept"
    """Destroyed, but its data and its uid range are kept for an agent of the same name."""


PHASES: Final = {
    Phase.CREATING: frozenset({Phase.PRESENT, Phase.DESTROYING, Phase.PURGING}),
    Phase.PRESENT: frozenset({Phase.DESTROYING, Phase.PURGING}),
    Phase.DESTROYING: frozenset({Phase.KEPT, Phase.PURGING}),
    Phase.PURGING: frozenset({Phase.DESTROYING}),
    Phase.KEPT: frozenset({Phase.CREATING, Phase.PURGING}),
}
"""Which phase may follow; after `purging` the record is gone."""


@dataclass
class Record:
    """What is remembered of one agent."""

    name: str
    uid_base: int
    machine_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    phase: Phase = Phase.CREATING
    model: str = ""
    enabled: bool = True
    seen: str = ""
    """The invocation whose container was seen READY, and not yet seen ending."""
    excused: str = ""
    """The invocation that a job of ours ends: its end is no crash."""
    boot: str = ""
    """The host's boot in which `seen` was seen."""
    port: int = 0
    """Of its page; 0 when it has none yet. Two may have the same one, after an import."""
    built: str = ""
    """The version of Hyperhive that its container was made by."""
    asleep: bool = False
    """Whether it is stopped only until somebody needs it."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What the operator has set for it while it was there, beside the configuration."""
    destroyed: int = 0
    """When it was, in microseconds since 1970; 0 while it is not."""
    deployed: str = ""
    """The commit of its configuration; empty when none was ever deployed."""

    def enter(self, phase: Phase) -> None:
        """Go on to `phase`; raises Conflict when that does not follow."""
        if phase not in PHASES[self.phase]:
            raise Conflict(f"{self.name} is {self.phase}; it cannot become {phase}.")
        self.phase = phase
        self.destroyed = time.time_ns() // 1000 if phase is Phase.KEPT else 0

    @property
    def spec(self) -> Spec:
        """What its container is made from."""
        return Spec(
            self.name, self.uid_base, self.machine_id, self.model, self.resources, self.deployed
        )

    @property
    def resources(self) -> dict[str, int | str]:
        """The limits that the operator has set beside the configuration."""
        return dict(self.settings.get("resources", {}))

    @resources.setter
    def resources(self, values: dict[str, int | str]) -> None:
        self.settings = {**self.settings, "resources": values}
