"""The addresses of a name, found with the host's resolver within a time limit."""

import asyncio
import ipaddress
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from services.egress import Address

SECONDS: Final = 10.0
WORKERS: Final = 4
"""Names that are looked up at once; a lookup cannot be cancelled."""
MAX_ADDRESSES: Final = 64


class LookupFailedError(Exception):
    """A name has no address, or the name servers do not answer; the text is the reason."""


class Resolver:
    """The host's resolver, in threads."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(WORKERS, "resolve")

    def close(self) -> None:
        """Forget the lookups that still run."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def resolve(self, name: str) -> list[Address]:
        """Return the addresses of `name`, the one to try first at the front.

        Raises:
            LookupFailedError: there is none.
        """
        loop = asyncio.get_running_loop()
        lookup = loop.run_in_executor(self._threads, _lookup, name)
        try:
            async with asyncio.timeout(SECONDS):
                found = await lookup
        except TimeoutError:
            raise LookupFailedError("the name servers do not answer") from None
        except socket.gaierror as error:
            raise LookupFailedError(_reason(error)) from None
        except (OSError, UnicodeError):
            raise LookupFailedError("the name cannot be looked up") from None
        return found


def _lookup(name: str) -> list[Address]:
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    addresses = (ipaddress.ip_address(str(sockaddr[0])) for *_, sockaddr in found)
    return list(dict.fromkeys(addresses))[:MAX_ADDRESSES]


def _reason(error: socket.gaierror) -> str:
    if error.errno == socket.EAI_AGAIN:
        return "the name servers do not answer"
    return "the name has no address"
