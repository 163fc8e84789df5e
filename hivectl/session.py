"""From a click command to a coroutine with a connected hive.

The bus is imported only when a command runs, so that `--help` and the completion of options stay
quick.
"""

import asyncio
import functools
import signal
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from hivectl import garbage
from hivectl.output.preferences import output_options
from hivectl.output.terminal import Output

if TYPE_CHECKING:
    from hivectl.clients.hive import Hive

P = ParamSpec("P")
Result = TypeVar("Result", int, None)


def hive_command(
    body: Callable[Concatenate["Hive", Output, P], Coroutine[None, None, Result]],
    *,
    formats: bool = True,
) -> Callable[P, Result]:
    """Make a click callback of a coroutine that takes a connected hive and an output.

    The exit code is the one that the coroutine returns, or 0. The command also gets the options
    about the output; not those about its form without `formats`.
    """

    @functools.wraps(body)
    def command(*args: P.args, **kwargs: P.kwargs) -> Result:
        output = Output()

        async def run() -> Result:
            from hivectl.clients.hive import Hive

            garbage.collect()
            # The loop's own handler wakes the loop; that of asyncio.run is not called before the
            # next event if Ctrl-C comes just before the loop begins to wait.
            if task := asyncio.current_task():
                asyncio.get_running_loop().add_signal_handler(signal.SIGINT, task.cancel)
            async with Hive.connect() as hive:
                return await body(hive, output, *args, **kwargs)

        try:
            return asyncio.run(run())
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None

    return output_options(command, formats=formats)
