"""Egress rules: their grammar, their usual form, and what they match."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.egress import WEB_PORTS, Rule, allowing, check, parse, parse_host, parse_list, place


@pytest.mark.parametrize(
    ("text", "usual"),
    [
        ("github.com", "github.com"),
        ("GitHub.COM", "github.com"),
        ("github.com.", "github.com"),
        ("crates.io:443", "crates.io:443"),
        ("my_bucket.example", "my_bucket.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("localhost:8080", "localhost:8080"),
        ("*.PythonHosted.org", "*.pythonhosted.org"),
        ("*.pythonhosted.org:8443", "*.pythonhosted.org:8443"),
        ("*", "*"),
        ("*:22", "*:22"),
        ("10.1.2.3", "10.1.2.3"),
        ("10.1.2.3:8080", "10.1.2.3:8080"),
        ("fd00::1", "fd00::1"),
        ("FD00:0:0::1", "fd00::1"),
        ("[fd00::1]", "fd00::1"),
        ("[fd00:0::1]:8080", "[fd00::1]:8080"),
    ],
)
def test_a_rule_has_one_usual_form(text: str, usual: str) -> None:
    assert check(text) == usual
    assert parse(usual) == parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        " ",
        "a b",
        "github.com ",
        "github.com..",
        "-a.com",
        "a-.com",
        ".com",
        "a..b",
        "a" * 64 + ".com",
        ".".join(["a" * 50] * 6),
        "*." + ".".join(["a" * 50] * 5),
        "https://github.com",
        "github.com/path",
        "user@github.com",
        "github.com:",
        "github.com:0",
        "github.com:65536",
        "github.com:0443",
        "github.com:+443",
        "github.com:٤٤٣",
        "github.com:443:1",
        "*.",
        "**",
        "*a.com",
        "a.*.com",
        "*.*.com",
        "*.1",
        "*.10.1.2.3",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "010.1.2.3",
        "1.2.3.4.5",
        "a.0x",
        "a.b.007",
        "10.0.0.0/8",
        "fd00::/8",
        "[10.1.2.3]:80",
        "[github.com]",
        "[fd00::1",
        "[fd00::1]443",
        "[fd00::1]:",
        "fd00::1]:443",
        "[]",
        "[:]",
        "fe80::1%eth0",
        "[fe80::1%25eth0]:80",
        "::ffff:10.1.2.3",
        "[::ffff:7f00:1]:80",
        "bücher.example",
        "git\u200bhub.com",
        "github。com",
        "\N{KELVIN SIGN}a.com",
        "github.com\n",
        "github.com\0",
    ],
)
def test_anything_else_is_refused_with_the_reason(text: str) -> None:
    with pytest.raises(ValueError, match=r"^(it|its port|a name|an address) "):
        parse(text)


def test_a_rule_for_one_name_is_for_the_ports_of_the_web() -> None:
    rule = parse("github.com")
    assert rule.matches("github.com", 80)
    assert rule.matches("github.com", 443)
    assert not rule.matches("github.com", 22)
    assert not rule.matches("api.github.com", 443)
    assert not rule.matches("github.com.evil.example", 443)


def test_a_port_is_the_only_one() -> None:
    rule = parse("github.com:22")
    assert rule.matches("github.com", 22)
    assert not rule.matches("github.com", 443)


def test_a_wildcard_is_for_names_below_at_any_depth() -> None:
    rule = parse("*.example.org")
    assert rule.matches("a.example.org", 443)
    assert rule.matches("a.b.example.org", 443)
    assert not rule.matches("example.org", 443)
    assert not rule.matches("badexample.org", 443)
    assert not rule.matches("a.example.org", 8443)


def test_the_star_is_for_all_names_and_for_no_address() -> None:
    rule = parse("*")
    assert rule.matches("github.com", 443)
    assert not rule.matches("localhost", 80), "it may be a name in a domain of the host"
    assert not rule.matches(ipaddress.ip_address("8.8.8.8"), 443)
    assert not rule.matches(ipaddress.ip_address("2001:4860::1"), 443)
    assert not rule.matches("github.com", 22)
    assert parse("*:22").matches("github.com", 22)


def test_an_address_matches_itself_in_each_spelling() -> None:
    rule = parse("[fd00::1]:8080")
    assert rule.matches(parse_host("[FD00:0:0:0::1]"), 8080)
    assert not rule.matches(parse_host("fd00::2"), 8080)
    assert not parse("10.1.2.3").matches("10.1.2.3", 443)


def test_a_host_of_a_request_is_a_name_or_an_address() -> None:
    assert parse_host("GitHub.com.") == "github.com"
    assert parse_host("127.0.0.1") == ipaddress.ip_address("127.0.0.1")
    assert parse_host("[::1]") == ipaddress.ip_address("::1")
    with pytest.raises(ValueError, match=r"10\.1\.2\.3"):
        parse_host("[::ffff:10.1.2.3]")
    with pytest.raises(ValueError, match="number"):
        parse_host("0x7f.0.0.0x1")


def test_the_first_rule_that_allows_is_found() -> None:
    rules = parse_list(["github.com:22", "*.io", "github.com"])
    assert allowing(rules, "github.com", 443) == Rule("github.com")
    assert allowing(rules, "crates.io", 80) == Rule("io", wildcard=True)
    assert allowing(rules, "example.org", 443) is None


NAMES = st.from_regex(r"[a-z]([a-z0-9-]{0,8}[a-z])?(\.[a-z][a-z0-9]{0,5}){0,3}", fullmatch=True)
HOSTS = NAMES | st.ip_addresses().filter(lambda a: getattr(a, "ipv4_mapped", None) is None)


@given(HOSTS.filter(lambda h: getattr(h, "scope_id", None) is None), st.integers(1, 65535))
def test_the_place_is_the_narrowest_rule(host: str, port: int) -> None:
    rule = parse(place(host, port))
    assert rule.matches(host, port)
    assert not rule.matches(host, port % 65535 + 1)
    assert not rule.wildcard
    assert str(rule) == place(host, port)


@given(st.text(max_size=40), st.integers(1, 65535))
def test_any_text_is_a_rule_or_refused(text: str, port: int) -> None:
    try:
        rule = parse(text)
    except ValueError:
        return
    assert parse(str(rule)) == rule
    if not rule.wildcard:
        assert rule.matches(rule.host, rule.port or min(WEB_PORTS))
