"""A connection to one of the addresses that were checked."""

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Sequence
from typing import Final

from services.egress import Address
from services.gateway.egress.decision import Target, Unreachable
from services.gateway.proxy.head import MAX_HEAD
from services.gateway.proxy.relay import Streams

MAX_TRIES: Final = 4
TRY_SECONDS: Final = 5.0


async def connect(
    addresses: Sequence[Address], target: Target, tls: ssl.SSLContext | None = None
) -> tuple[Address, Streams]:
    """Connect to the first of `addresses` that answers; return that one, and its connection.

    No name is looked up here.

    Args:
        addresses: the addresses of the target.
        target: the port, and with `tls` the name or address in the certificate.
        tls: None for a connection without TLS.

    Raises:
        Unreachable: none answers, or none has a valid certificate.
    """
    reason = "it has no address"
    for address in addresses[:MAX_TRIES]:
        try:
            return address, await _open(address, target, tls)
        except TimeoutError:
            reason = "it does not answer"
        except ssl.SSLCertVerificationError as error:
            reason = f"its certificate is not valid ({error.verify_message})"
        except ssl.SSLError:
            reason = "it does not speak TLS"
        except OSError as error:
            reason = os.strerror(error.errno or errno.EIO).lower()
    raise Unreachable(f"Hyperhive cannot reach {target}: {reason}.")


async def _open(address: Address, target: Target, tls: ssl.SSLContext | None) -> Streams:
    loop = asyncio.get_running_loop()
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    connection = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        connection.setblocking(False)
        async with asyncio.timeout(TRY_SECONDS):
            await loop.sock_connect(connection, (str(address), target.port))
            if tls is not None:
                reader, writer = await asyncio.open_connection(
                    sock=connection, ssl=tls, server_hostname=str(target.host), limit=MAX_HEAD
                )
                return Streams(reader, writer)
        return await streams(connection)
    except BaseException:
        connection.close()
        raise


async def streams(connection: socket.socket) -> Streams:
    """Return the streams of a connected socket, which belong to them from now on."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=MAX_HEAD, loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport, _ = await loop.connect_accepted_socket(lambda: protocol, connection)
    return Streams(reader, asyncio.StreamWriter(transport, protocol, reader, loop))
