"""The addresses of this host itself."""

import ipaddress

import pytest

from services.gateway.egress.routes import leads_away


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "255.255.255.255", "224.0.0.1"])
def test_the_addresses_of_this_host_lead_nowhere_else(address: str) -> None:
    assert not leads_away(ipaddress.ip_address(address))
