"""Why a port shows nothing, and what the operator can do, from the rows of the pages."""

from collections.abc import Callable, Mapping
from typing import NamedTuple, cast

from services.dashboard.preview.addresses import Place
from services.dashboard.state.tables import Json, Row, Table

Rows = Callable[[Table], Mapping[str, Row]]
"""Returns the rows of a table, by key."""


class Reason(NamedTuple):
    """Why a port shows nothing."""

    sentence: str
    act: str
    """The words of the link to the page of the agent, where the remedy is."""


OPEN = "Open the page of {}"
START = "Start {}…"


class Reasons:
    """The reasons, as far as the tables of the pages tell."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def unreachable(self, place: Place) -> Reason:
        """Return why the container does not offer a port."""
        name, port = place
        agent = self._rows(Table.AGENTS).get(name)
        if agent is None:
            known = self._rows(Table.SERVICES).get("lifecycle", {}).get("available")
            sentence = f"There is no agent {name}."
            if not known:
                sentence = f"Lifecycle does not answer, so it is not known whether {name} runs."
            return Reason(sentence, OPEN.format(name))
        state = str(agent["state"])
        if state in _STATES:
            sentence, act = _STATES[state]
            return Reason(sentence.format(name), act.format(name))
        network = cast(Mapping[str, Json], agent["network"])
        if network["mode"] == "host":
            return Reason(
                f"{name} has the network of the host: its pages are at "
                f"http://{name}.localhost:{port}/ on the host itself, and are not shown here.",
                OPEN.format(name),
            )
        if port not in cast(tuple[int, ...], network["ports"]):
            return Reason(
                f"Port {port} is not among the `ports` in the agent.toml of {name}.",
                OPEN.format(name),
            )
        return Reason(
            f"The container of {name} does not offer port {port} yet: it was started before it had "
            f"to. Restart {name}.",
            OPEN.format(name),
        )

    def silent(self, place: Place) -> Reason:
        """Return why a port has closed the connection without an answer."""
        name, port = place
        agent = self._rows(Table.AGENTS).get(name)
        turn = "" if agent is None else str(agent["turn_state"])
        doing = " The agent works now: it may start the program." if turn == "thinking" else ""
        return Reason(
            f"Nothing listens on port {port} in the container of {name}, or the program there has "
            f"closed the connection.{doing}",
            f"Ask {name}…",
        )


_STATES = {
    "stopped": ("{} is stopped.", START),
    "failed": ("{} has failed.", START),
    "sleeping": ("{} sleeps until there is a message for it, or until you start it.", START),
    "starting": ("{} is starting. Try again in a moment.", OPEN),
    "stopping": ("{} is stopping.", OPEN),
    "paused": ("{} is paused, so its programs do not run.", "Resume {}…"),
}
"""The sentences of states in which a container offers no port."""
