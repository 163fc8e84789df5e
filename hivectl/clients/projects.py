"""The projects, and how their fetches end."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from wire import names
from wire.bus import Bus
from wire.clients.projects import ProjectsClient
from wire.errors import NotFound, Timeout
from wire.records import decode
from wire.records.projects import FetchProgress, Project, ProjectState
from wire.signals import Signal


class Projects:
    """The projects of a hive."""

    def __init__(self, bus: Bus, client: ProjectsClient) -> None:
        self._bus = bus
        self._client = client

    async def get(self, name: str) -> Project:
        """Return a project.

        Raises:
            NotFound: there is none of that name.
        """
        for project in await self._client.list_projects():
            if project.name == name:
                return project
        raise NotFound(f"There is no project {name[:40]!r}; `hivectl project list` shows all.")

    async def fetched(
        self,
        name: str,
        begin: Callable[[], Awaitable[None]],
        told: Callable[[FetchProgress], None],
        seconds: float,
    ) -> Project:
        """Begin a fetch, and wait for its end; return the project.

        Args:
            name: the project.
            begin: begins the fetch.
            told: called with the progress.
            seconds: how long to wait.

        Raises:
            Timeout: it goes on after `seconds`.
            NotFound: the project was removed meanwhile.
        """
        changed = asyncio.Event()

        def heard(signal: Signal) -> None:
            if signal.member == "FetchProgress":
                told(decode(FetchProgress, signal.args))
            else:
                changed.set()

        async with AsyncExitStack() as stack:
            rule = {"sender": names.PROJECTS, "interface": names.PROJECTS, "arg0": name}
            # Subscribed first: a fetch may end before the call is answered.
            subscription = await self._bus.on_signal(heard, **rule)
            stack.push_async_callback(subscription.close)
            # A service that was killed does the fetch again when it is back.
            owner = await self._bus.on_owner(names.PROJECTS, came=lambda _: changed.set())
            stack.push_async_callback(owner.close)
            await begin()
            try:
                async with asyncio.timeout(seconds):
                    while (project := await self.get(name)).state is ProjectState.FETCHING:
                        await changed.wait()
                        changed.clear()
            except TimeoutError:
                raise Timeout(
                    f"The fetch of {name} still goes on after {seconds:g} s, and continues. "
                    f"`hivectl project show {name}` shows its state."
                ) from None
            return project
