"""The run of the service: it adopts the containers on start, and ends its own work on stop."""

import contextlib

from services.config import LifecycleConfig
from services.lifecycle.agents.record import Phase, Record
from services.lifecycle.agents.start import BOOT, CRASH
from services.lifecycle.backends.backend import Backend
from services.lifecycle.notices.login import update_notice
from services.lifecycle.parts import Parts
from services.lifecycle.store import Store
from wire import names
from wire.errors import HiveError
from wire.records.lifecycle import JobVerb, SpawnOptions


class Lifecycle:
    """All parts, started and stopped in their order."""

    def __init__(
        self, parts: Parts, store: Store, backend: Backend, config: LifecycleConfig, version: str
    ) -> None:
        """Do nothing before `start`.

        Args:
            parts: the parts.
            store: the storage that they share.
            backend: the containers.
            config: the section `[lifecycle]` of the configuration.
            version: the version of Hyperhive, of which stale agents are told.
        """
        self._parts = parts
        self._store = store
        self._backend = backend
        self._config = config
        self._version = version

    async def start(self) -> None:
        """Adopt the running containers and continue the work of the last lifecycle.

        Ends that happened in the meantime are noticed, interrupted jobs continue, and enabled
        agents are started. Returns when the agents are known; the jobs go on.
        """
        parts, roster = self._parts, self._parts.roster
        await self._backend.probe()
        await self._backend.correct_data()
        await self._backend.watch_network(parts.filters.change)
        boot = await parts.monitor.start()
        roster.assign_ports(await self._backend.listening_ports())
        records = [r for r in self._store.records() if r.phase is not Phase.KEPT]
        rebooted = {record.name for record in records if record.boot != boot}
        for record in records:
            if record.name in rebooted:
                record.seen = ""  # which is not a crash
            roster.add(record)
        roster.update_shared_ports()
        for record in records:
            await parts.monitor.refresh(record.name)
            if roster.agents[record.name].unit_status.up:
                await parts.filters.apply(record)
        await parts.holds.start()
        parts.jobs.begin()
        self._tell_of_stale()
        parts.deliverer.start()
        for job in self._store.jobs():
            parts.orders.resume(job)
        for record in records:
            if parts.jobs.of(record.name) is None:
                self._continue(record, BOOT if record.name in rebooted else CRASH)
        parts.provider_limits.start()  # before messages may wake agents
        await parts.auto_sleep.start()
        parts.disk.start()
        if self._config.create_manager and roster.find(names.MANAGER) is None:
            self._create_manager()
        if self._config.auto_update:
            parts.rolling_update.begin()

    async def stop(self) -> None:
        """Let jobs end, then end all tasks; containers keep running."""
        parts = self._parts
        parts.rolling_update.stop()
        parts.provider_limits.stop()
        await parts.auto_sleep.stop()
        await parts.disk.stop()
        await parts.jobs.drain()
        with contextlib.suppress(HiveError):  # the bus itself may be gone
            if await self._backend.host_is_stopping():
                parts.roster.expect_all_ends()
        self._backend.stop_watching()
        await parts.filters.stop()
        await parts.budgets.stop()
        await parts.gateway_limits.stop()
        await parts.limit_holds.stop()
        await parts.deliverer.stop()
        await parts.monitor.stop()
        parts.roster.stop()

    def broker_appeared(self) -> None:
        """Note that the broker's name has an owner (again)."""
        self._parts.deliverer.broker_appeared()
        self._parts.auto_sleep.check_messages()

    def _tell_of_stale(self) -> None:
        auto = self._config.auto_update
        for agent in [agent for agent in self._parts.roster.agents.values() if agent.stale]:
            self._store.add_notice(update_notice(agent, self._version, auto=auto))

    def _create_manager(self) -> None:
        if self._parts.jobs.of(names.MANAGER) is None:
            self._parts.orders.spawn(names.MANAGER, SpawnOptions())

    def _continue(self, record: Record, reason: str) -> None:
        """Start, or finish removing, an agent for which no job is stored.

        Args:
            record: the agent.
            reason: why it does not run, if it should.
        """
        orders = self._parts.orders
        if record.phase is Phase.PRESENT:
            agent = self._parts.roster.agents[record.name]
            if agent.enabled and not agent.asleep and not agent.unit_status.up:
                orders.order(JobVerb.START, record.name, reason=reason)
        else:
            orders.destroy(record.name, record.phase is Phase.PURGING)
