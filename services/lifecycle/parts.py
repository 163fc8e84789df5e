"""The parts of lifecycle; `__main__` puts them together."""

from dataclasses import dataclass
from typing import Protocol

from services.deliverer import Deliverer
from services.lifecycle.agents.budgets import Budgets
from services.lifecycle.agents.logs import Logs
from services.lifecycle.agents.roster import AgentObserver, Roster
from services.lifecycle.agents.runtime import Runtime
from services.lifecycle.agents.settings import EffectiveSettings
from services.lifecycle.agents.tombstones import Tombstones
from services.lifecycle.harnesses import Harnesses
from services.lifecycle.jobs.orders import Orders
from services.lifecycle.jobs.rolling_update import RollingUpdate
from services.lifecycle.jobs.runner import JobObserver, JobRunner
from services.lifecycle.notices.notice import Notice
from services.lifecycle.watch.auto_sleep import AutoSleep
from services.lifecycle.watch.disk import DiskWatch
from services.lifecycle.watch.filters import Filters
from services.lifecycle.watch.gateway_limits import GatewayLimits
from services.lifecycle.watch.holds import Holds
from services.lifecycle.watch.limit_holds import LimitHolds
from services.lifecycle.watch.monitor import Monitor
from services.lifecycle.watch.provider_limits import ProviderLimits


class Observer(JobObserver, AgentObserver, Protocol):
    """The receiver of all news (the D-Bus side)."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts that share one store and one backend."""

    roster: Roster
    jobs: JobRunner
    orders: Orders
    settings: EffectiveSettings
    runtime: Runtime
    harnesses: Harnesses
    tombstones: Tombstones
    logs: Logs
    provider_limits: ProviderLimits
    gateway_limits: GatewayLimits
    limit_holds: LimitHolds
    holds: Holds
    auto_sleep: AutoSleep
    rolling_update: RollingUpdate
    filters: Filters
    budgets: Budgets
    disk: DiskWatch
    monitor: Monitor
    deliverer: Deliverer[Notice]
