"""The addresses and directories that may be an upstream."""

import pytest

from services.projects import sources
from services.projects.sources import Kind
from wire.errors import InvalidArgument


@pytest.mark.parametrize(
    ("text", "kind", "host", "port", "user"),
    [
        ("", "none", "", 0, ""),
        ("/srv/git/website", "directory", "", 0, ""),
        ("https://forge.example/team/website.git", "https", "forge.example", 443, ""),
        ("https://Bot@Forge.Example:8443/w", "https", "forge.example", 8443, "Bot"),
        ("https://192.0.2.1/w.git", "https", "192.0.2.1", 443, ""),
        ("ssh://git@forge.example:2222/team/w.git", "ssh", "forge.example", 2222, "git"),
        ("ssh://git@[2001:db8::1]/w.git", "ssh", "2001:db8::1", 22, "git"),
        ("git@forge.example:team/website.git", "ssh", "forge.example", 22, "git"),
        ("forge.example:~ann/w.git", "ssh", "forge.example", 22, ""),
        ("https://forge.example/a%20b.git", "https", "forge.example", 443, ""),
    ],
)
def test_an_upstream(text: str, kind: str, host: str, port: int, user: str) -> None:
    found = sources.parse(text)
    assert (found.kind, str(found.host), found.port, found.user) == (kind, host, port, user)
    assert found.text == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("http://forge.example/w.git", "http:// is not supported"),
        ("git://forge.example/w.git", "git:// is not supported"),
        ("file:///srv/git/w", "file:// is not supported"),
        ("ext::sh -c true", "is not a valid"),
        ("--upload-pack=touch", "is not a valid"),
        ("-oProxyCommand=x:y", "is not a valid"),
        ("ssh://-oProxyCommand=x/y", "The host '-oproxycommand=x' is not valid"),
        ("ssh://-x@h.example/y", "'-x' is not a valid user"),
        ("-x@h.example:y", "is not a valid"),
        ("git@h.example:-y", None),
        ("website", "is not a valid source"),
        ("./website", "is not a valid source"),
        ("https://ann:s3cret@forge.example/w", "contains a password"),
        ("https://forge.example", "is not a valid path"),
        ("https://forge.example/w?x=1", "no '\\?' and no '#'"),
        ("https://forge.example/w#x", "no '\\?' and no '#'"),
        ("https://forge.example:0x/w", "is not valid"),
        ("https://127.1/w", "The host '127.1' is not valid"),
        ("https://a b/w", "host"),
        ("https://forge.example/a b", "is not a valid path"),
        ("https://forge.example/a\nb", "printable"),
        ("https://forge.example/a;touch x", "is not a valid path"),
        ("https://forge.example/`x`", "is not a valid path"),
        ("https://f\u00f6rge.example/w", "ASCII form"),
        ("/srv/../etc", "must not contain"),
        ("/var/lib/hyperhive/agents/alice/state/w", "lies below /var/lib/hyperhive"),
        ("/var/lib/machines/h-alice/w", "lies below /var/lib/machines"),
        ("/run/hyperhive", "lies below /run"),
        ("/proc/1/root/srv", "lies below /proc"),
        ("/" + "a" * 1000, "at most 1000"),
    ],
)
def test_what_is_none_is_refused_with_a_reason(text: str, reason: str | None) -> None:
    if reason is None:
        assert sources.parse(text).kind is Kind.SSH  # ssh gets it in quotes, after the host
        return
    with pytest.raises(InvalidArgument, match=reason) as caught:
        sources.parse(text)
    assert "s3cret" not in str(caught.value)


def test_temporary_directories_are_the_services_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "PRIVATE", ("/tmp", "/var/tmp"))
    for text in ("/tmp/website", "/var/tmp/website"):
        with pytest.raises(InvalidArgument, match="has for itself alone"):
            sources.parse(text)
