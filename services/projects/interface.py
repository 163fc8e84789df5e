"""org.hyperhive.Projects1 and Changes1 on the bus. They forward, and nothing else."""

from services.projects import options as checked
from services.projects.changes.changes import Changes
from services.projects.changes.comparisons import Comparisons
from services.projects.changes.model import Row
from services.projects.changes.review import Review
from services.projects.fetches import Listener
from services.projects.hooks import Hooks
from services.projects.progress import Step
from services.projects.projects import Projects
from wire import names
from wire.interface import Interface, caller, method, signal
from wire.principal import AGENTS, OPERATOR, service
from wire.records import changes as change_records
from wire.records import decode_all
from wire.records import projects as records
from wire.types import Bytes, Dict, Str, UInt32, UInt64


class Projects1(Interface, name=names.PROJECTS):
    """The projects."""

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


class Changes1(Interface, name=names.CHANGES):
    """The changes of projects, at the same object."""

    def __init__(self, changes: Changes, comparisons: Comparisons, review: Review) -> None:
        self._changes = changes
        self._comparisons = comparisons
        self._review = review
        changes.on_change = self._signal_change

    @method(allow=AGENTS)
    async def Submit(
        self, project: Str, commit: Str, title: Str, description: Str, options: Dict
    ) -> UInt64:
        chosen = checked.SUBMIT.parse(options)
        return await self._changes.submit(
            caller().voice, project, commit, title, description, chosen
        )

    @method(allow=AGENTS)
    async def Update(self, id: UInt64, commit: Str, note: Str) -> UInt32:
        return await self._changes.update(caller().voice, id, commit, note)

    @method(allow=AGENTS)
    async def Withdraw(self, id: UInt64) -> None:
        await self._changes.withdraw(caller().voice, id)

    @method(allow=AGENTS | OPERATOR)
    async def List(self, filter: Dict) -> list[change_records.ProjectChange]:
        return await self._changes.list(caller().voice, checked.CHANGES.parse(filter))

    @method(allow=AGENTS | OPERATOR)
    async def Get(self, id: UInt64) -> change_records.ChangeDetails:
        return await self._changes.get(caller().voice, id)

    @method(allow=AGENTS | OPERATOR)
    async def Diff(self, id: UInt64, options: Dict) -> change_records.ChangeDiff:
        row = await self._changes.visible(caller().voice, id)
        chosen = checked.CHANGE_DIFF.parse(options)
        return await self._comparisons.diff(row, chosen, caller().voice)

    @method(allow=OPERATOR)
    async def Bundle(self, id: UInt64, revision: UInt32) -> Bytes:
        return await self._review.bundle(id, revision or None)

    @method(allow=AGENTS | OPERATOR)
    async def Comment(self, id: UInt64, text: Str, options: Dict) -> None:
        chosen = checked.COMMENT.parse(options)
        await self._changes.comment(caller().voice, id, text, chosen)

    @method(allow=OPERATOR)
    async def Approve(self, id: UInt64, commit: Str, base: Str, options: Dict) -> None:
        chosen = checked.APPROVE.parse(options)
        await self._review.approve(caller().voice, id, commit, base, chosen)

    @method(allow=OPERATOR)
    async def RequestChanges(
        self, id: UInt64, commit: Str, note: Str, comments: list[change_records.LineComment]
    ) -> None:
        found = decode_all(change_records.LineComment, comments)
        self._review.request_changes(caller().voice, id, commit, note, found)

    @method(allow=OPERATOR)
    async def Deny(self, id: UInt64, commit: Str, note: Str) -> None:
        await self._review.deny(id, commit, note)

    @signal()
    def ChangeChanged(
        self, id: UInt64, project: Str, agent: Str, state: change_records.ChangeState
    ) -> None: ...

    def _signal_change(self, row: Row) -> None:
        self.ChangeChanged(row.id, row.project, row.agent, row.state)
