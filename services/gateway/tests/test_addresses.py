"""The addresses that no agent reaches."""

import ipaddress

import pytest

from services.gateway.egress.addresses import is_public
from services.gateway.egress.routes import leads_away


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200"),
        *("127.0.0.1", "127.255.255.254", "168.63.129.16", "169.254.169.254", "169.254.170.2"),
        *("172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.88.99.1"),
        *("192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1"),
        *("224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "::127.0.0.1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:8.8.8.8"),
        *("::ffff:0:127.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1"),
        *("64:ff9b::169.254.169.254", "64:ff9b:1::1", "100::1", "2001::1", "2001:0:7f00:1::"),
        *("2001:10::1", "2001:20::1", "2001:db8::1", "2002:7f00:1::", "2002:808:808::1"),
        *("3fff::1", "3fff:fff::1", "4000::1", "5f00::1", "fc00::1", "fd00:ec2::254"),
        *("fe80::1", "fe80::1%1", "fec0::1", "ff02::1", "2620:4f:8000::1"),
    ],
)
def test_an_address_that_is_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        *("1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.1", "100.63.255.255", "100.128.0.1"),
        *("126.0.0.1", "128.0.0.1", "172.15.0.1", "172.32.0.1", "192.167.0.1", "223.255.255.255"),
        *("2001:4860:4860::8888", "2606:4700::1111", "2a00::1", "64:ff9b::8.8.8.8"),
    ],
)
def test_an_address_of_the_public_internet(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "255.255.255.255", "224.0.0.1"])
def test_the_addresses_of_this_host_lead_nowhere_else(address: str) -> None:
    assert not leads_away(ipaddress.ip_address(address))
