"""A call of one of the services, whose failures are sentences for the operator."""

from typing import Any

from wire.bus import Bus
from wire.errors import Stopping, Timeout, Unavailable

from .feed import SERVICES, explain


async def call(
    bus: Bus, service: str, member: str, signature: str, *args: Any,
    path: str | None = None, interface: str | None = None,
) -> list[Any]:  # fmt: skip
    """What `member` of `service` answers.

    Args:
        bus: to the services.
        service: one of SERVICES.
        member: of `interface`.
        signature: of `args`.
        path: of another object than the service's own.
        interface: another one than the service's own.

    Raises:
        HiveError: the service's own; or that it is away, and how to find out why.
    """
    name, root = SERVICES[service]
    try:
        return await bus.call(name, path or root, interface or name, member, signature, *args)
    except (Unavailable, Stopping, Timeout) as error:
        raise type(error)(explain(service, error)) from error
