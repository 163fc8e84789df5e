"""The warnings about addresses that are not public."""

import pytest

from wire.addresses import HOST_ITSELF, PRIVATE, warning


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("127.0.0.1", HOST_ITSELF),
        ("127.9.9.9", HOST_ITSELF),
        ("0.0.0.0", HOST_ITSELF),
        ("::1", HOST_ITSELF),
        ("::", HOST_ITSELF),
        ("64:ff9b::7f00:1", HOST_ITSELF),
        ("10.0.0.1", PRIVATE),
        ("169.254.169.254", PRIVATE),
        ("100.64.0.1", PRIVATE),
        ("fd00::1", PRIVATE),
        ("fe80::1", PRIVATE),
        ("::ffff:10.0.0.1", PRIVATE),
        ("::127.0.0.1", PRIVATE),
        ("224.0.0.1", PRIVATE),
        ("64:ff9b::a00:1", PRIVATE),
        ("8.8.8.8", ""),
        ("2606:4700::1111", ""),
        ("64:ff9b::808:808", ""),
        ("localhost", ""),
        ("*", ""),
        ("github.com", ""),
    ],
)
def test_what_an_address_leads_to(host: str, said: str) -> None:
    assert warning(host) == said
