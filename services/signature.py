"""The signature of a webhook: the HMAC of the body with a secret that only the forge knows, too."""

import hmac
from collections.abc import Mapping
from typing import Final

HEADERS: Final = (
    ("x-forgejo-signature", ""),
    ("x-gitea-signature", ""),
    ("x-hub-signature-256", "sha256="),
)
"""The headers with the signature in hexadecimal digits, and what comes before it. A forge sends
several, which agree; the first one counts."""


def is_signed(secret: bytes, headers: Mapping[str, str], body: bytes) -> bool:
    """Return whether a body has the signature of `secret`, in a time that does not depend on how
    much of the signature is right.

    Args:
        secret: the secret; not empty.
        headers: the values by names in lower case.
        body: the body as it was sent.
    """
    for name, prefix in HEADERS:
        if given := headers.get(name, ""):
            wanted = prefix + hmac.digest(secret, body, "sha256").hex()
            return hmac.compare_digest(given.encode(errors="replace"), wanted.encode())
    return False
