"""The three services as feeds: which signals they have and what those mean for the tables."""

from collections.abc import Mapping
from typing import Any

from wire import names
from wire.bus import Bus
from wire.signals import Signal
from wire.types import U64

from .feed import Feed
from .hive import MAX_MESSAGES, Hive

PAGE = 50
"""Messages asked for at once: as many of the longest ones fit into one D-Bus message."""

MAX_QUESTIONS = 50
"""Questions shown, besides all that wait for the operator."""


class BrokerFeed(Feed):
    """The message flow, and the questions."""

    service = "broker"
    rules = ({"interface": names.BROKER},)
    _news: int | None = None
    """The lowest id that is to be asked for."""
    _parked = False
    """Whether there are new dead letters, which may be older than what is shown."""
    _asked = False
    """Whether a question was asked or resolved."""

    async def fetch(self) -> None:
        """The newest messages, all that wait for the operator, and the questions."""
        self._news, self._parked = None, False
        newest = await self._list({}, MAX_MESSAGES)
        self.hive.messages([*await self._dead(), *await self._unread({}), *newest])
        await self._fetch_questions()

    async def fetch_news(self) -> None:
        """What was queued, parked or asked since: a signal has no text."""
        if self._news is not None:
            news, self._news = self._news, None
            wanted = {"after": U64(news - 1)}
            added = await self._list(wanted, MAX_MESSAGES)
            # Mostly that was all; else what waits for the operator may be further back.
            if not added or added[0][0] != news:
                added = [*await self._unread(wanted), *added]
            self.hive.messages_added(added)
        if self._parked:
            self._parked = False
            self.hive.messages_added(await self._dead())
        if self._asked:
            await self._fetch_questions()

    async def _fetch_questions(self) -> None:
        """The newest, and all that wait for the operator."""
        self._asked = False
        newest = await self._list({}, MAX_QUESTIONS, "ListQuestions")
        mine = {"to": names.OPERATOR, "state": "open"}
        self.hive.questions([*await self._list(mine, MAX_MESSAGES, "ListQuestions"), *newest])

    async def _unread(self, wanted: Mapping[str, Any]) -> list[list[Any]]:
        """Those of the messages that are `wanted` which wait for the operator."""
        unread = {**wanted, "to": names.OPERATOR, "state": "queued"}
        return await self._list(unread, MAX_MESSAGES)

    async def _dead(self) -> list[list[Any]]:
        """The dead letters."""
        return await self._list({"state": "dead"}, MAX_MESSAGES)

    def apply(self, signal: Signal) -> None:
        """Messages are queued (new, or again), delivered, done; questions asked and resolved."""
        match signal.member, signal.args:
            case "MessageQueued", [_, int(message), *_]:
                # One that is queued again may be too old to be among the news.
                self.hive.message_state(message, "queued")
                self._news = min(message, self._news or message)
                self.want_news()
            case "MessageDelivered", [_, int(message), int(redeliveries)]:
                self.hive.message_state(message, "leased", redeliveries)
            case "MessageAcknowledged", [_, int(message)]:
                self.hive.message_state(message, "acknowledged")
            case "MessageParked", [_, int(message), int(redeliveries)]:
                self.hive.message_state(message, "dead", redeliveries)
                self._parked = True
                self.want_news()
            case "MessageDropped", [_, int(message)]:
                self.hive.message_state(message, "dropped")
            case "QuestionAdded" | "QuestionResolved", _:
                self._asked = True
                self.want_news()

    async def _list(
        self, wanted: Mapping[str, Any], limit: int, member: str = "ListMessages"
    ) -> list[list[Any]]:
        """The newest messages, or questions, that are `wanted`, about `limit`, oldest first."""
        found: list[list[Any]] = []
        before: dict[str, Any] = {}
        while len(found) < limit:
            page: list[list[Any]] = await self.bus.call1(
                self.name, self.path, self.name, member, "a{sv}u", {**wanted, **before}, PAGE
            )
            found = page + found
            if len(page) < PAGE:
                break
            before = {"before": U64(page[0][0])}
        return found


class LifecycleFeed(Feed):
    """Agents and jobs."""

    service = "lifecycle"
    rules = (
        {"path_namespace": names.LIFECYCLE_PATH, "interface": names.OBJECT_MANAGER},
        {"path_namespace": names.LIFECYCLE_PATH, "interface": names.PROPERTIES},
        {"path_namespace": names.LIFECYCLE_PATH, "interface": names.AGENT_INTERFACE},
        {"path_namespace": names.LIFECYCLE_PATH, "interface": names.LIFECYCLE},
    )

    def __init__(self, bus: Bus, hive: Hive) -> None:
        super().__init__(bus, hive)
        self._agents: dict[str, str] = {}  # names by object path

    async def fetch(self) -> None:
        """All objects below lifecycle."""
        objects: dict[str, dict[str, dict[str, Any]]] = await self.bus.call1(
            self.name, self.path, names.OBJECT_MANAGER, "GetManagedObjects"
        )
        agents, jobs = {}, {}
        for path, interfaces in objects.items():
            if agent := interfaces.get(names.AGENT_INTERFACE):
                agents[path] = agent
            if job := interfaces.get(names.JOB_INTERFACE):
                jobs[path] = (job["Agent"], job["Verb"])
        self._agents = {path: agent["Name"] for path, agent in agents.items()}
        self.hive.agents({agent["Name"]: agent for agent in agents.values()})
        self.hive.jobs(jobs)

    def apply(self, signal: Signal) -> None:
        """Agents come, change, crash and go; jobs begin and end."""
        match signal.member, signal.args:
            case "InterfacesAdded", [str(path), {names.AGENT_INTERFACE: agent}]:
                self._agents[path] = agent["Name"]
                self.hive.agent_changed(agent["Name"], agent)
            case "InterfacesRemoved", [str(path), list(gone)] if names.AGENT_INTERFACE in gone:
                if name := self._agents.pop(path, None):
                    self.hive.agent_gone(name)
            case "PropertiesChanged", [names.AGENT_INTERFACE, dict(changed), _]:
                if name := self._agents.get(signal.path):
                    self.hive.agent_changed(name, changed)
            case "Crashed", [str(result), int(status)]:
                if name := self._agents.get(signal.path):
                    self.hive.agent_crashed(name, result, status)
            case "JobNew", [_, str(path), str(agent), str(verb)]:
                self.hive.job_new(path, agent, verb)
            case "JobRemoved", [_, str(path), str(agent), str(verb), str(result), str(error)]:
                self.hive.job_removed(path, agent, verb, result, error)


class ApprovalsFeed(Feed):
    """The queue of requests. It is short, so every signal asks for all of it."""

    service = "approvals"
    rules = ({"interface": names.APPROVALS},)

    async def fetch(self) -> None:
        """All requests."""
        self.hive.approvals(
            await self.bus.call1(self.name, self.path, self.name, "List", "a{sv}", {})
        )

    def apply(self, signal: Signal) -> None:
        """ApprovalAdded, ApprovalResolved."""
        self.want_all()
