"""The rules of an egress list: which names and addresses an agent may reach, and on which ports.

    rule = egress.parse("*.pythonhosted.org")
    host = egress.parse_host("files.pythonhosted.org")
    rule.matches(host, 443)

A rule is one of these; without a port it is for the ports of the web, 80 and 443:

    github.com          one name
    crates.io:443       one name on one port
    *.pythonhosted.org  all names below one, at any depth; not that name itself
    *                   all names with a dot; others, and addresses, need a rule of their own
    10.1.2.3:8080       an address, also when a permitted name leads to it
    [fd00::1]:8080      an address of IPv6; without a port also fd00::1

hyperhive.toml, agent.toml, the operator's decisions and the gateway all use this module.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

WEB_PORTS: Final = frozenset({80, 443})
"""The ports of a rule that names none."""

MAX_RULES: Final = 100
"""The most rules of one list."""

MAX_NAME: Final = 253
"""The most characters of a name."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Host = str | Address
"""A name in lower case without a dot at its end, or an address."""

_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}")
# Programs take a host with such an end for an address: 127.1, 2130706433 and 0x7f000001 are
# 127.0.0.1 to getaddrinfo.
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")

RULE: Final = (
    "it must be a name such as github.com or *.pythonhosted.org, an address or *, "
    "with a port if it is not for 80 and 443: crates.io:443, 10.1.2.3:8080, [fd00::1]:8080"
)
"""The grammar in words."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a list."""

    host: Host
    """The name or address; for a wildcard the name above, which is empty for `*`."""
    port: int | None = None
    """The only port; None for WEB_PORTS."""
    wildcard: bool = False

    def matches(self, host: Host, port: int) -> bool:
        """Return whether the rule allows `host` on `port`."""
        return self._has_port(port) and self._has_host(host)

    def _has_port(self, port: int) -> bool:
        return port in WEB_PORTS if self.port is None else port == self.port

    def _has_host(self, host: Host) -> bool:
        if not self.wildcard:
            return host == self.host
        if not isinstance(host, str):
            return False
        if not self.host:
            # A name of one label means one in a domain of the host, which only a rule for it names.
            return "." in host
        return host.endswith(f".{self.host}")

    def __str__(self) -> str:
        if self.wildcard:
            text = f"*.{self.host}" if self.host else "*"
            return text if self.port is None else f"{text}:{self.port}"
        return str(self.host) if self.port is None else place(self.host, self.port)


def parse(text: str) -> Rule:
    """Return the rule that `text` is.

    Raises:
        ValueError: it is not a rule; the text is the reason and the grammar, without the value.
    """
    _check_ascii(text)
    shown, port = _split_port(text)
    name = shown.lower()
    if name == "*":
        return Rule("", port, wildcard=True)
    if name.startswith("*."):
        _check_name(name[2:])
        if len(name) > MAX_NAME:
            raise ValueError(f"it is longer than {MAX_NAME} characters")
        return Rule(name[2:], port, wildcard=True)
    return Rule(parse_host(shown), port)


def check(text: str) -> str:
    """Return the rule `text` in its usual form: lower case, short addresses.

    Raises:
        ValueError: as for `parse`.
    """
    return str(parse(text))


def parse_list(texts: Iterable[str]) -> tuple[Rule, ...]:
    """Return the rules that `texts` are.

    Raises:
        ValueError: as for `parse`.
    """
    return tuple(parse(text) for text in texts)


def parse_host(text: str) -> Host:
    """Return the name or address that `text` is, which may be the host of a request.

    Raises:
        ValueError: it is neither; the text is the reason and the grammar, without the value.
    """
    _check_ascii(text)
    if text.startswith("[") and text.endswith("]"):
        if ":" not in text:
            raise ValueError(RULE)
        text = text[1:-1]
    if ":" in text or text.replace(".", "").isdecimal():
        return _address(text)
    name = text.lower().removesuffix(".")
    _check_name(name)
    return name


def is_own(host: Host, agent: str) -> bool:
    """Return whether a host is the container itself for a program in an agent's container.

    Such a program takes no notice of NO_PROXY. For the gateway, the host is another one.
    """
    if isinstance(host, str):
        return host in {"localhost", agent} or host.endswith(".localhost")
    mapped = host.ipv4_mapped if isinstance(host, ipaddress.IPv6Address) else None
    address = mapped or host
    return address.is_loopback or address.is_unspecified


def allowing(rules: Iterable[Rule], host: Host, port: int) -> Rule | None:
    """Return the first of `rules` that allows `host` on `port`, or None."""
    return next((rule for rule in rules if rule.matches(host, port)), None)


def place(host: Host, port: int) -> str:
    """Return `host` and `port` as one text, which is also the narrowest rule that allows them."""
    if isinstance(host, ipaddress.IPv6Address):
        return f"[{host}]:{port}"
    return f"{host}:{port}"


def _split_port(text: str) -> tuple[str, int | None]:
    """Return a rule without its port, and the port."""
    if text.count(":") > 1 and not text.startswith("["):
        return text, None  # an address of IPv6
    if text.startswith("["):
        host, bracket, rest = text.partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(RULE)
        return f"{host}]", _port(rest[1:]) if rest else None
    host, colon, port = text.partition(":")
    return host, _port(port) if colon else None


def _port(text: str) -> int:
    if not _PORT.fullmatch(text) or int(text) > 65535:
        raise ValueError("its port must be a number from 1 to 65535, without zeros before it")
    return int(text)


def _address(text: str) -> Address:
    if "%" in text:
        raise ValueError("an address must be without a zone such as %eth0")
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError(RULE) from None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        raise ValueError(f"it must be written as the address of IPv4 {address.ipv4_mapped}")
    return address


def _check_ascii(text: str) -> None:
    # Before the change to lower case, which makes a k of the Kelvin sign.
    if not text.isascii():
        raise ValueError("a name with other letters must be written in its ASCII form, xn--...")


def _check_name(name: str) -> None:
    labels = name.split(".")
    if len(name) > MAX_NAME or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError(RULE)
    if _NUMBER.fullmatch(labels[-1]):
        raise ValueError(
            "a name must not end with a number, because programs take it for an address; "
            "write an address in full, such as 10.1.2.3"
        )
