"""The name under which agents reach the forge: their gateway adds the token of their account."""

from typing import Final

HOST: Final = "forge.hive.internal"
"""A name that nobody resolves: it never leaves the gateway."""
ORIGIN: Final = f"http://{HOST}"
KIND: Final = "forge"
"""The kind of the messages about events of the forge."""
TOKEN_DIRECTORY: Final = "/etc/hyperhive/credentials/forge"
"""The directory with the tokens of the accounts, `agents/NAME`, and with the secret `webhook`."""
