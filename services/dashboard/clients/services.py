"""The services that the pages show, and calls of them whose failures are sentences to show."""

from wire import names
from wire.caller import Call, CallerWrapper
from wire.errors import HiveError, NotFound, Stopping, Timeout, Unavailable
from wire.types import Value

SERVICES = {
    "broker": (names.BROKER, names.BROKER_PATH),
    "lifecycle": (names.LIFECYCLE, names.LIFECYCLE_PATH),
    "approvals": (names.APPROVALS, names.APPROVALS_PATH),
    "ledger": (names.LEDGER, names.LEDGER_PATH),
    "projects": (names.PROJECTS, names.PROJECTS_PATH),
}
"""Bus name and object path of each service that the pages show."""

UNAVAILABLE = {
    "broker": "The broker does not answer: messages can be neither read nor sent.",
    "lifecycle": "Lifecycle does not answer: agents cannot be started or stopped, and their "
    "states may be out of date.",
    "approvals": "Approvals does not answer: requests can be neither approved nor denied.",
    "ledger": "The ledger does not answer: costs may be out of date.",
    "projects": "Projects does not answer: nothing is fetched, and changes can be neither read nor "
    "decided.",
}

_BY_NAME = {name: service for service, (name, _) in SERVICES.items()}


def explain(service: str, error: HiveError) -> str:
    """Return a failure of `service` as a sentence that says what to do."""
    if _is_silent(error):
        return f"{UNAVAILABLE[service]} Run `systemctl status hive-{service}` to see why."
    return f"{service.capitalize()} answered: {error}"


class ExplainingCaller(CallerWrapper):
    """A caller of SERVICES whose failures say what to do."""

    async def around(self, call: Call, destination: str, timeout: float) -> list[Value]:
        """Make the call.

        Raises:
            HiveError: the service's own error, or one that says that the service does not answer
                and how to find out why.
        """
        try:
            return await call()
        except (Unavailable, Stopping, Timeout) as error:
            if not _is_silent(error):
                raise
            raise type(error)(explain(_BY_NAME[destination], error)) from error


def _is_silent(error: HiveError) -> bool:
    """Return whether the service itself is away, rather than something that it needs."""
    if isinstance(error, Unavailable) and error.answered:
        return False  # of lifecycle: an agent's harness is away
    return isinstance(error, Unavailable | Stopping | Timeout)


def no_such_agent(name: str) -> NotFound:
    """Return the error for an agent that does not exist."""
    return NotFound(f"There is no agent {name[:32]}.")


def agent_path(name: str) -> str:
    """Return the object path of the agent `name`.

    Raises:
        NotFound: `name` is not a valid agent name.
    """
    if not names.AGENT_NAME.fullmatch(name):
        # The name may be of a link of another site: no words of it become the dashboard's.
        raise NotFound("There is no agent of this name.")
    return names.agent_path(name)
