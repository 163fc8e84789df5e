"""The containers that run now, so that a message to an earlier one of an agent is recognised."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from wire import names
from wire.records import dictionary
from wire.records.broker import Message
from wire.records.lifecycle import AgentState
from wire.types import Str

_ENDED: Final = frozenset({AgentState.STOPPED, AgentState.FAILED, AgentState.SLEEPING})
"""States of an agent without a running container; its InvocationId is that of the last one."""


@dictionary(properties=True)
class Container(NamedTuple):
    """The properties of Agent1 that say which container runs; they change together."""

    state: AgentState
    invocation_id: Str


class Invocations:
    """The InvocationIDs of the containers that run, as lifecycle reports them.

    Without lifecycle nothing is known: any container may have been started again meanwhile.
    """

    def __init__(self) -> None:
        # By object path. An agent that is missing has no container, once `known` is true.
        self._running: dict[str, str] = {}
        self._reported: set[str] = set()
        self.known = False
        """True while lifecycle runs and has answered."""

    def current(self, agent: str) -> str:
        """Return the InvocationID of the agent's container; "" when none runs or none is known."""
        return self._running.get(names.agent_path(agent), "")

    def has_ended(self, agent: str, invocation: str) -> bool:
        """Return whether a container has ended; False when that is not known, or for ""."""
        if not invocation or not self.known:
            return False
        return self.current(agent) != invocation

    def mark_earlier(self, message: Message) -> Message:
        """Return the message with `earlier_life` as it is now."""
        if not self.has_ended(message.recipient, message.invocation):
            return message
        return message._replace(earlier_life=True)

    def forget(self) -> None:
        """Forget all containers until `learn`: lifecycle has gone, or is asked anew."""
        self._running.clear()
        self._reported.clear()
        self.known = False

    def learn(self, containers: Mapping[str, Container]) -> None:
        """Take over lifecycle's answer; reports since `forget` are newer than the answer.

        Args:
            containers: the containers of all agents, by object path.
        """
        for path, container in containers.items():
            if path not in self._reported:
                self.changed(path, container)
        self.known = True

    def changed(self, path: str, container: Container) -> None:
        """Note the container of the agent at the object path `path`."""
        self._reported.add(path)
        self._running.pop(path, None)
        if container.state not in _ENDED and container.invocation_id:
            self._running[path] = container.invocation_id

    def removed(self, path: str) -> None:
        """Note that the agent at the object path `path` was destroyed."""
        self._reported.add(path)
        self._running.pop(path, None)
