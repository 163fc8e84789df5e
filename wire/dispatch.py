"""From a received call to its reply: the caller, its permission, the method, and the answer.

Each call is handled by a task of its own, which the dispatcher owns, so that a Receive that waits
for minutes delays no other call. Calls of one connection start in the order in which they arrive.
When a caller leaves the bus, its handlers are cancelled, for nobody would read the answer.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from typing import Final

from wire import errors, message, standard
from wire.interface import Interface, MethodSpec, calling
from wire.message import Message
from wire.objects import Objects
from wire.principal import Principal
from wire.types import Value

log = logging.getLogger(__name__)

Identify = Callable[[str], Awaitable[Principal | None]]
"""An awaitable function from a connection to its principal; None for a stranger."""

MAX_HELD: Final = 64 * 1024 * 1024
"""The bytes of calls that may wait for the identification of their callers."""
_SMALL: Final = 64 * 1024
"""A call of at most so many bytes may always wait."""

_STOPPING: Final = "The service is stopping; try again when it is back."
_TOO_MUCH: Final = "The caller sent too much before it was identified; wait, and try again."


class Dispatcher:
    """The part that answers the calls of one connection."""

    def __init__(
        self, objects: Objects, post: Callable[[Message], object], identify: Identify
    ) -> None:
        self._objects = objects
        self._post = post
        self._identify = identify
        self._principals: dict[str, Principal | None] = {}
        self._unidentified: dict[str, list[Message]] = {}
        self._held = 0
        self._tasks: dict[str, set[asyncio.Task[None]]] = {}
        self._stopping = False

    def take(self, call: Message) -> None:
        """Begin to handle a call."""
        if self._stopping:
            self._refuse(call, errors.Stopping(_STOPPING))
        elif call.sender in self._principals:
            self._start(call, self._principals[call.sender])
        elif call.size > _SMALL and self._held + call.size > MAX_HELD:
            self._refuse(call, errors.LimitExceeded(_TOO_MUCH))
        else:
            self._hold(call)

    def _hold(self, call: Message) -> None:
        """Keep a call until its caller is identified."""
        self._held += call.size
        if call.sender in self._unidentified:
            self._unidentified[call.sender].append(call)
        else:
            self._unidentified[call.sender] = [call]
            self._own(call.sender, self._identify_caller(call.sender))

    def _let_go(self, connection: str) -> list[Message] | None:
        """Return the calls that waited for the identification; None when `connection` has left."""
        calls = self._unidentified.pop(connection, None)
        self._held -= sum(call.size for call in calls or ())
        return calls

    def knows(self, connection: str) -> bool:
        """Return whether `connection` has called and has not left the bus since."""
        return connection in self._principals or connection in self._unidentified

    def caller_left(self, connection: str) -> None:
        """Forget `connection`, which has left the bus, and cancel its calls."""
        self._principals.pop(connection, None)
        self._let_go(connection)
        for task in self._tasks.pop(connection, ()):
            task.cancel()

    async def stop(self, grace: float) -> None:
        """Refuse new calls at once; answer Stopping to those that run after `grace` seconds."""
        self._stopping = True
        if running := self._running():
            _, late = await asyncio.wait(running, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        for calls in self._unidentified.values():
            for call in calls:
                self._refuse(call, errors.Stopping(_STOPPING))
        self._unidentified.clear()

    def _running(self) -> list[asyncio.Task[None]]:
        return [task for tasks in self._tasks.values() for task in tasks]

    def _own(self, connection: str, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.setdefault(connection, set()).add(task)
        task.add_done_callback(lambda done: self._disown(connection, done))

    def _disown(self, connection: str, task: asyncio.Task[None]) -> None:
        tasks = self._tasks.get(connection)
        if tasks is not None:
            tasks.discard(task)
            if not tasks:
                del self._tasks[connection]

    async def _identify_caller(self, connection: str) -> None:
        try:
            principal = await self._identify(connection)
        except Exception as error:
            log.warning("the caller %s could not be identified: %s", connection, error)
            refusal = errors.Unavailable("The caller could not be identified; try again.")
            for call in self._let_go(connection) or ():
                self._refuse(call, refusal)
            return
        calls = self._let_go(connection)
        if calls is None:
            return  # it has left
        self._principals[connection] = principal
        for call in calls:
            self._start(call, principal)

    def _start(self, call: Message, principal: Principal | None) -> None:
        self._own(call.sender, self._answer(call, principal))

    async def _answer(self, call: Message, principal: Principal | None) -> None:
        try:
            signature, values = await self._handle(call, principal)
            self._reply(call, signature, values)
        except asyncio.CancelledError:
            if call.sender in self._principals:  # else it has left: nobody reads the answer
                self._refuse(call, errors.Stopping(_STOPPING))
            raise
        except Exception as error:
            self._refuse(call, error)

    async def _handle(self, call: Message, principal: Principal | None) -> tuple[str, list[Value]]:
        if principal is None:
            raise _stranger(call)
        if known := standard.find(call.interface, call.member):
            check_signature(call, known.arguments)
            with calling(principal, call.sender):
                return known.result, known.answer(self._objects, call.path, call.body)
        interface, spec = self._find(call)
        if principal not in spec.allow:
            raise errors.AccessDenied(
                f"Only {spec.allow} may call {spec.name}; the caller is {principal}."
            )
        check_signature(call, spec.arguments)
        with calling(principal, call.sender):
            result = await spec.function(interface, *call.body)
        return spec.result, spec.body(result)

    def _find(self, call: Message) -> tuple[Interface, MethodSpec]:
        """Return the method that the call names; without an interface header, the only one so
        named."""
        if call.interface:
            here = [self._objects.interface(call.path, call.interface)]
        else:
            here = list(self._objects.at(call.path).values())
            if not self._objects.exists(call.path):
                raise self._objects.missing(call.path, "")
        found = [(one, one.methods[call.member]) for one in here if call.member in one.methods]
        match found:
            case [only]:
                return only
            case []:
                name = f"{call.interface}.{call.member}" if call.interface else call.member
                methods = ", ".join(name for one in here for name in one.methods) or "none"
                raise errors.StandardError(
                    errors.UNKNOWN_METHOD, f"There is no method {name}. The methods are: {methods}."
                )
        names = ", ".join(one.interface_name for one, _ in found)
        raise errors.InvalidArgument(
            f"Several interfaces have {call.member}; name one of them: {names}."
        )

    def _reply(self, call: Message, signature: str, body: list[Value]) -> None:
        if not call.no_reply:
            self._post(message.answer(call, signature, body))

    def _refuse(self, call: Message, error: BaseException) -> None:
        if isinstance(error, errors.HiveError) and errors.is_answer(error):
            answer = error
        else:
            answer = _log_internal(call, error)
        if call.no_reply:
            return
        # The daemon disconnects a sender of text that is not valid.
        text = str(answer).replace("\0", "").encode(errors="replace").decode()
        try:
            self._post(message.refusal(call, answer.name, text))
        except errors.Unavailable:
            log.debug("the bus is gone; the answer to %s is dropped", call.member)


def check_signature(call: Message, expected: str) -> None:
    """Check the signature of the arguments of `call`.

    Raises:
        InvalidArgument: the signature is not `expected`.
    """
    if call.signature != expected:
        raise errors.InvalidArgument(
            f'{call.member} takes arguments of the signature "{expected}", not "{call.signature}".'
        )


def _stranger(call: Message) -> errors.AccessDenied:
    return errors.AccessDenied(
        f"Only services and agents of the hive, root and members of the group hive may call "
        f"{call.member}."
    )


def _log_internal(call: Message, error: BaseException) -> errors.Internal:
    """Log the traceback, and return an answer with its id only."""
    log_id = secrets.token_hex(4)
    log.error(
        "%s failed unexpectedly [%s]",
        call.member,
        log_id,
        exc_info=error,
        extra={"HIVE_ERROR_ID": log_id},
    )
    return errors.Internal(
        f"{call.member} failed unexpectedly; `journalctl HIVE_ERROR_ID={log_id}` has the details."
    )
