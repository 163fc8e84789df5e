"""Which life of its container each agent is in: so a message meant for an earlier one is known."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from services.broker.messages.message import Message
from wire import names

_ENDED: Final = frozenset({"stopped", "failed", "sleeping"})
"""States of an agent in which its container does not run; its InvocationId is the last one's."""


class Invocations:
    """The InvocationIDs of the containers that run, as lifecycle tells them.

    Without lifecycle nothing is known: a container may have been started again meanwhile.
    """

    def __init__(self) -> None:
        # By object path. Not there: it does not run, unless lifecycle has not answered yet.
        self._running: dict[str, str] = {}
        self._told: set[str] = set()
        self.known = False
        """Whether lifecycle has answered, and still runs."""

    def current(self, agent: str) -> str:
        """The life of its container now; "" when it has none, or none that is known."""
        return self._running.get(names.agent_path(agent), "")

    def has_ended(self, agent: str, invocation: str) -> bool:
        """Whether `life` of its container has ended. What is not known has not; "" never was."""
        if not invocation or not self.known:
            return False
        return self.current(agent) != invocation

    def mark_earlier(self, message: Message) -> Message:
        """The message, with `earlier_life` as it is now."""
        if not self.has_ended(message.recipient, message.invocation):
            return message
        return replace(message, earlier_life=True)

    def forget(self) -> None:
        """Lifecycle has gone, or is asked anew: nothing is known until `learn`."""
        self._running.clear()
        self._told.clear()
        self.known = False

    def learn(self, objects: Mapping[str, Mapping[str, Any]]) -> None:
        """What GetManagedObjects has answered; what `changed` has told since `forget` is newer."""
        for path, interfaces in objects.items():
            if names.AGENT_INTERFACE in interfaces and path not in self._told:
                self.changed(path, interfaces[names.AGENT_INTERFACE])
        self.known = True

    def changed(self, path: str, properties: Mapping[str, Any]) -> None:
        """Properties of the agent at `path` have changed; those of its unit come together."""
        if "State" not in properties or "InvocationId" not in properties:
            return
        self._told.add(path)
        self._running.pop(path, None)
        if properties["State"] not in _ENDED and properties["InvocationId"]:
            self._running[path] = properties["InvocationId"]

    def removed(self, path: str) -> None:
        """The agent at `path` is no more."""
        self._told.add(path)
        self._running.pop(path, None)
