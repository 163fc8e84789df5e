"""The part of a bus that calls methods, and callers that do something around each call.

class Patient(CallerWrapper):
    async def around(self, call: Call, destination: str, timeout: float) -> list[Value]:
        async with self._turn:
            return await call()

broker = BrokerClient(Patient(bus))
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, Protocol

from wire.types import Value

CALL_TIMEOUT: Final = 25.0
"""The seconds that a call waits for its answer, unless its caller says otherwise."""

Call = Callable[[], Awaitable[list[Value]]]
"""Makes a call and returns its results; it may be called again."""


class Caller(Protocol):
    """The part of a bus that calls methods; wire.bus.Bus is one."""

    async def call(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        *args: Value,
        timeout: float = CALL_TIMEOUT,
    ) -> list[Value]:
        """Call a method and return its results; see wire.bus.Bus.call."""


class CallerWrapper(ABC):
    """A caller whose calls are those of another one, with something `around` each."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def call(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        *args: Value,
        timeout: float = CALL_TIMEOUT,
    ) -> list[Value]:
        """Call a method and return its results; see wire.bus.Bus.call."""
        target = (destination, path, interface, member, signature, *args)
        call = partial(self._caller.call, *target, timeout=timeout)
        return await self.around(call, destination, timeout)

    @abstractmethod
    async def around(self, call: Call, destination: str, timeout: float) -> list[Value]:
        """Make `call` and return its results.

        Args:
            call: the call on the other caller.
            destination: the name on the bus that is called.
            timeout: the seconds that the answer may take.
        """
