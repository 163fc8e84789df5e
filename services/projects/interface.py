"""org.hyperhive.Projects1 on the bus. Forwards, and nothing else."""

from services.projects import options as checked
from services.projects.fetches import Listener
from services.projects.hooks import Hooks
from services.projects.progress import Step
from services.projects.projects import Projects
from wire import names
from wire.interface import Interface, method, signal
from wire.principal import OPERATOR, service
from wire.records import projects as records
from wire.types import Bytes, Dict, Str, UInt64


class Projects1(Interface, name=names.PROJECTS):
    """The object of the service."""

    def __init__(self, projects: Projects, hooks: Hooks) -> None:
        self._projects = projects
        self._hooks = hooks
        listener = Listener(changed=self._signal_change, progress=self._signal_progress)
        projects.listen(listener, self._signal_removed)

    @method(allow=OPERATOR)
    async def Add(self, name: Str, source: Str, options: Dict) -> None:
        await self._projects.add(name, source, checked.ADD.parse(options))

    @method(allow=OPERATOR)
    async def Set(self, name: Str, options: Dict) -> None:
        await self._projects.set(name, checked.SET.parse(options))

    @method(allow=OPERATOR)
    async def Remove(self, name: Str) -> None:
        await self._projects.remove(name)

    @method(allow=OPERATOR)
    async def Fetch(self, name: Str) -> None:
        self._projects.fetch(name)

    @method(allow=OPERATOR)
    async def CancelFetch(self, name: Str) -> None:
        await self._projects.cancel_fetch(name)

    @method(allow=OPERATOR | service("fetch"))
    async def FetchAll(self) -> None:
        self._projects.fetch_all()

    @method(allow=OPERATOR)
    async def List(self) -> list[records.Project]:
        return await self._projects.list()

    @method(allow=OPERATOR)
    async def Show(self, name: Str) -> records.ProjectDetails:
        return await self._projects.show(name)

    @method(allow=service("dashboard"))
    async def ReceiveHook(self, name: Str, headers: Dict, body: Bytes) -> None:
        self._hooks.receive(name, checked.HOOK.parse(headers), body)

    @signal()
    def ProjectChanged(self, name: Str, state: records.ProjectState) -> None: ...

    @signal()
    def ProjectRemoved(self, name: Str) -> None: ...

    @signal()
    def FetchProgress(self, name: Str, phase: Str, done: UInt64, total: UInt64) -> None: ...

    def _signal_change(self, name: str, state: records.ProjectState) -> None:
        self.ProjectChanged(name, state)

    def _signal_progress(self, name: str, step: Step) -> None:
        self.FetchProgress(name, step.phase, step.done, step.total)

    def _signal_removed(self, name: str) -> None:
        self.ProjectRemoved(name)
