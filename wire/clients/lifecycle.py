"""Lifecycle, its agents and its jobs as their callers see them; docs/dbus.md describes each member.

Methods that return an object path return the job's; its end is the signal JobRemoved.
"""

from typing import Final, TypeVar

from wire import names
from wire.clients.client import Client, remote
from wire.records.codec import Record, decode
from wire.records.lifecycle import (
    CancelOptions,
    CommandResult,
    DeployOptions,
    LogEntry,
    LogFilter,
    LoginPage,
    ManagedObjects,
    Report,
    ResourceChanges,
    SpawnOptions,
    Tombstone,
    Usage,
)
from wire.types import Bool, ManagedDict, ObjectPath, Str, StrList, UInt32, UInt64

R = TypeVar("R", bound=Record)

LONG_SECONDS: Final = 150.0
"""The seconds that the calls of a login may take, whose program may ask a slow server, and the
reset of a working copy."""


class LifecycleClient(Client, interface=names.LIFECYCLE, path=names.LIFECYCLE_PATH):
    """org.hyperhive.Lifecycle1."""

    @remote("Spawn")
    async def spawn(self, name: Str, options: SpawnOptions) -> ObjectPath:
        """Make an agent and start it."""

    @remote("Deploy")
    async def deploy(self, agent: Str, commit: Str, options: DeployOptions) -> ObjectPath:
        """Run an agent with the configuration at a commit."""

    @remote("Destroy")
    async def destroy(self, name: Str, purge: Bool) -> ObjectPath:
        """End an agent; with its data if `purge`."""

    @remote("UpdateAll")
    async def update_all(self) -> StrList:
        """Update the stale agents one after the other and return their names."""

    @remote("LiftLimits")
    async def lift_limits(self) -> StrList:
        """Forget the limits of providers and return the agents that waited for their ends."""

    @remote("ListTombstones")
    async def list_tombstones(self) -> list[Tombstone]:
        """Return the data that is kept of destroyed agents."""

    @remote("PurgeTombstone")
    async def purge_tombstone(self, name: Str) -> ObjectPath:
        """Delete the data that is kept of a destroyed agent."""

    @remote("ReadLogs")
    async def read_logs(self, filter: LogFilter, limit: UInt32) -> list[LogEntry]:
        """Return lines of the host's journal about the hive, oldest first."""

    async def managed_objects(self) -> ManagedObjects:
        """Return the agents and jobs with their properties."""
        return ManagedObjects.decode(await self._managed_objects())

    async def agents_as(self, record: type[R]) -> dict[str, R]:
        """Return the agents by object path, each as `record`, which may have fewer properties."""
        objects = await self._managed_objects()
        return {
            path: decode(record, interfaces[names.AGENT_INTERFACE])
            for path, interfaces in objects.items()
            if names.AGENT_INTERFACE in interfaces
        }

    @remote("GetManagedObjects", interface=names.OBJECT_MANAGER)
    async def _managed_objects(self) -> ManagedDict: ...


class AgentClient(Client, interface=names.AGENT_INTERFACE, destination=names.LIFECYCLE):
    """org.hyperhive.Agent1; its path is `wire.names.agent_path(name)`."""

    @remote("Start")
    async def start(self) -> ObjectPath:
        """Start the container."""

    @remote("Stop")
    async def stop(self) -> ObjectPath:
        """Stop the container in order."""

    @remote("Kill")
    async def kill(self) -> ObjectPath:
        """Kill all processes of the container, and stop it."""

    @remote("Restart")
    async def restart(self) -> ObjectPath:
        """Stop the container and start it again."""

    @remote("Rebuild")
    async def rebuild(self) -> ObjectPath:
        """Make again everything on the host that belongs to the agent."""

    @remote("Update")
    async def update(self) -> ObjectPath:
        """Rebuild the agent with the installed version of Hyperhive."""

    @remote("Pause")
    async def pause(self) -> None:
        """Give the container no processor time."""

    @remote("Resume")
    async def resume(self) -> None:
        """Give the container processor time again."""

    @remote("SetResources")
    async def set_resources(self, resources: ResourceChanges) -> None:
        """Change limits."""

    @remote("GetUsage")
    async def get_usage(self) -> Usage:
        """Return the resources that the container uses."""

    @remote("Report")
    async def report(self, report: Report) -> None:
        """Hand over the harness's report."""

    @remote("HarnessConnected")
    async def harness_connected(self, connected: Bool) -> None:
        """Tell lifecycle whether the harness is connected to the calling endpoint."""

    @remote("CommandDone")
    async def command_done(self, id: UInt64, result: CommandResult) -> None:
        """Hand over the result of a command."""

    @remote("CancelTurn")
    async def cancel_turn(self, options: CancelOptions) -> Str:
        """Interrupt the turn and return a sentence about it."""

    @remote("Compact")
    async def compact(self) -> Str:
        """Compact the context."""

    @remote("NewSession")
    async def new_session(self) -> Str:
        """Begin a new session."""

    @remote("ResetProject")
    async def reset_project(self, project: Str) -> Str:
        """Make a working copy clean and return a sentence; it takes up to LONG_SECONDS."""

    @remote("SetModel")
    async def set_model(self, model: Str) -> Str:
        """Change the model of the turns; empty for the configured one."""

    @remote("SetEffort")
    async def set_effort(self, effort: Str) -> Str:
        """Change the level of effort; empty for the default."""

    @remote("BeginLogin")
    async def begin_login(self) -> LoginPage:
        """Begin a login of the agent, or return the one that runs; it takes up to LONG_SECONDS."""

    @remote("EnterLoginCode")
    async def enter_login_code(self, login: UInt64, code: Str) -> Str:
        """Enter the code of the page and return a sentence; it takes up to LONG_SECONDS."""

    @remote("CancelLogin")
    async def cancel_login(self, login: UInt64) -> Str:
        """End a login and return a sentence."""

    @remote("GetLogs")
    async def get_logs(self, lines: UInt32) -> StrList:
        """Return the newest lines of the journal about the agent."""


class JobClient(Client, interface=names.JOB_INTERFACE, destination=names.LIFECYCLE):
    """org.hyperhive.Job1; its path is the job's."""

    @remote("Cancel")
    async def cancel(self) -> None:
        """Undo the job."""

    @remote("Hurry")
    async def hurry(self) -> None:
        """Run the job without waiting for the end of the turn."""

    @remote("GetOutput")
    async def get_output(self) -> StrList:
        """Return the newest lines about the work of the job."""
