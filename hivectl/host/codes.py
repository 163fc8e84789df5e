"""The code of a login, which a person types or a program writes."""

import asyncio
import os
import select
import stat
from typing import Final, TextIO

MAX_CODE: Final = 4096


async def read_code(stream: TextIO | None) -> str:
    """Return the first line of `stream`; Ctrl-C ends the wait for it. Empty at its end."""
    if stream is None:
        return ""
    loop, number = asyncio.get_running_loop(), stream.fileno()
    read: asyncio.Future[None] = loop.create_future()
    text = b""

    def more() -> None:
        nonlocal text
        chunk = os.read(number, MAX_CODE)
        text += chunk
        if not (chunk and b"\n" not in text and len(text) < MAX_CODE) and not read.done():
            read.set_result(None)

    try:
        loop.add_reader(number, more)
    except PermissionError:  # a file, or a device such as /dev/null, is never waited for
        more()
    else:
        try:
            await read
        finally:
            loop.remove_reader(number)
    return text.decode(errors="replace").partition("\n")[0].strip()


def has_code(stream: TextIO | None) -> bool:
    """Return whether a code can come from `stream`: not at its end, as that of /dev/null is."""
    if stream is None:
        return False
    if stream.isatty():
        return True
    number = stream.fileno()
    if stat.S_ISREG(os.fstat(number).st_mode):
        return os.fstat(number).st_size > os.lseek(number, 0, os.SEEK_CUR)
    if stat.S_ISFIFO(os.fstat(number).st_mode) or stat.S_ISSOCK(os.fstat(number).st_mode):
        waiting = select.poll()
        waiting.register(number, select.POLLIN)
        events = dict(waiting.poll(0)).get(number, 0)
        return not events & select.POLLHUP or bool(events & select.POLLIN)
    return False
