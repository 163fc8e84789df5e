"""The way to an upstream: the addresses that were checked, the credential, and the keys of hosts.

git gets these as options and variables for one command. The configuration of a repository knows
neither an address nor a credential.
"""

import ipaddress
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from services.addresses import is_public
from services.egress import Address
from services.projects.apps import Apps
from services.projects.credentials import CredentialKind, Credentials
from services.projects.sources import HTTPS_PORT, Kind, Source
from services.quarantine.runner import Conditions, Limits
from services.resolve import LookupFailedError
from wire.errors import InvalidArgument, Unavailable

CONFIGURATION: Final = Path(__file__).with_name("gitconfig")
LIMITS: Final = Limits(memory=4 * 2**30, file=50 * 2**30, processor=4 * 3600)
"""The limits of a fetch: a repository of some gigabytes takes minutes and much memory."""
_USER: Final = "x-access-token"
"""The user for a token, if the address names none; GitHub wants this one, others take any."""
_HELPER: Final = (
    '!f() { test "$1" = get || return 0; echo "username=$HIVE_USER"; '
    'printf password=; cat "$HIVE_TOKEN"; echo; }; f'
)
"""A credential helper of git: it reads the token from its file, and git never prints it."""


_TAKES: Final = {
    Kind.SSH: (CredentialKind.KEY,),
    Kind.HTTPS: (CredentialKind.TOKEN, CredentialKind.APP),
}


class Names(Protocol):
    """A resolver of names."""

    async def resolve(self, name: str) -> list[Address]:
        """Return the addresses of `name`.

        Raises:
            LookupFailedError: there is none.
        """


class Access(NamedTuple):
    """The options and conditions of a git that reaches one upstream."""

    options: tuple[str, ...]
    """Options of git, before its command."""
    conditions: Conditions
    upload_pack: str = "git-upload-pack"
    """The program that sends objects on the other side."""
    receive_pack: str = "git-receive-pack"
    """The program that takes them there."""


class Gate:
    """The ways to all upstreams."""

    def __init__(self, credentials: Credentials, names: Names, apps: Apps) -> None:
        self._credentials = credentials
        self._names = names
        self._apps = apps

    def check(self, source: Source, credential: str) -> None:
        """Check that a credential suits a source.

        Raises:
            InvalidArgument: it does not.
            NotFound: there is no such credential.
        """
        if not credential:
            return
        if source.kind in (Kind.DIRECTORY, Kind.NONE):
            raise InvalidArgument(
                "Only an upstream of https or ssh takes a credential. Leave --credential out, or "
                "give --no-credential."
            )
        _, kind = self._credentials.find(credential)
        wanted = _TAKES[source.kind]
        if kind not in wanted:
            raise InvalidArgument(
                f"The credential {credential} is a {kind}, but {source.kind} takes a "
                f"{' or a '.join(wanted)}. Use the other form of the address, or another "
                "credential."
            )

    async def open(
        self, source: Source, credential: str, *, private: bool, known_hosts: Path
    ) -> Access:
        """Return the way to an upstream; names are looked up and checked now.

        The token of a GitHub App is valid for half an hour at least.

        Args:
            source: an upstream; not one of the kind NONE.
            credential: the name of the credential; empty: none.
            private: whether the host may be one of a private network, or this host.
            known_hosts: the file in which ssh keeps the key of the host.

        Raises:
            InvalidArgument: the credential does not suit, or the name leads to an address that is
                not public, or GitHub refuses the app.
            NotFound: there is no such credential.
            Unavailable: the name cannot be looked up, or GitHub cannot be reached.
        """
        self.check(source, credential)
        if source.kind is Kind.DIRECTORY:
            return _directory(source)
        addresses = await self._addresses(source, private=private)
        file = await self._file(source, credential, private=private) if credential else None
        if source.kind is Kind.SSH:
            return _ssh(source, addresses[0], file, known_hosts)
        return _https(source, addresses, file)

    async def _file(self, source: Source, credential: str, *, private: bool) -> Path:
        """Return the file with the key or the token for a source."""
        path, kind = self._credentials.find(credential)
        if kind is not CredentialKind.APP:
            return path
        return await self._apps.token(
            path, source, lambda api: self._addresses(api, private=private)
        )

    async def _addresses(self, source: Source, *, private: bool) -> list[Address]:
        """Return the addresses of the host: a single bad one refuses the name, as for agents."""
        if not isinstance(source.host, str):
            found = [source.host]
        else:
            try:
                found = await self._names.resolve(source.host)
            except LookupFailedError as error:
                raise Unavailable(f"The host {source.host} cannot be reached: {error}.") from None
        if bad := next((one for one in found if not is_public(one)), None):
            if private:
                return found
            raise InvalidArgument(
                f"{source.host} leads to {bad}, which is not an address of the public internet. If "
                "this host is meant, allow it: `hivectl project set NAME --private`."
            )
        return found


def _environment(**variables: str) -> dict[str, str]:
    return {"GIT_CONFIG_GLOBAL": str(CONFIGURATION), **variables}


def _directory(source: Source) -> Access:
    """Return the way to a directory, in which a second git runs: it follows no link to elsewhere.

    That git reads the configuration of the directory. It may fetch nothing in turn, which a partial
    clone would, with programs that its configuration names.
    """
    serve = ["env", "GIT_ALLOW_PROTOCOL=none", "git"]
    for option in (
        f"safe.directory={source.text}",
        f"safe.directory={source.text}/.git",
        "core.hooksPath=/dev/null",
        "core.fsmonitor=false",
        "core.alternateRefsCommand=false",
    ):
        serve += ["-c", option]
    variables = _environment(GIT_ALLOW_PROTOCOL="file")
    programs = (f"{shlex.join(serve)} {verb}-pack" for verb in ("upload", "receive"))
    return Access((), Conditions(LIMITS, variables, confined=False), *programs)


def _https(source: Source, addresses: Sequence[Address], token: Path | None) -> Access:
    options = ["-c", "credential.helper="]
    variables = _environment(GIT_ALLOW_PROTOCOL="https")
    if isinstance(source.host, str):
        pinned = ",".join(map(_bracketed, addresses))
        options += ["-c", f"http.curloptResolve={source.host}:{source.port}:{pinned}"]
    if token is not None:
        # Only for this host: an address that leads elsewhere gets no token.
        port = "" if source.port == HTTPS_PORT else f":{source.port}"
        place = f"https://{_bracketed(source.host)}{port}"
        options += ["-c", f"credential.{place}.helper={_HELPER}"]
        variables |= {"HIVE_TOKEN": str(token), "HIVE_USER": source.user or _USER}
    return Access(tuple(options), Conditions(LIMITS, variables, confined=False))


def _ssh(source: Source, address: Address, key: Path | None, known_hosts: Path) -> Access:
    given = {
        "BatchMode": "yes",
        "HostName": str(address),
        "HostKeyAlias": str(source.host),
        "StrictHostKeyChecking": "accept-new",
        "UserKnownHostsFile": str(known_hosts),
        "GlobalKnownHostsFile": "/etc/ssh/ssh_known_hosts",
        "UpdateHostKeys": "no",
        "HashKnownHosts": "no",
        "IdentityFile": str(key or "none"),
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "PreferredAuthentications": "publickey",
        "ForwardAgent": "no",
        "ConnectTimeout": "30",
        "ServerAliveInterval": "15",
        "ServerAliveCountMax": "4",
    }
    command = ["ssh", "-F", "none"]
    for name, value in given.items():
        command += ["-o", f"{name}={value}"]
    variables = _environment(
        GIT_ALLOW_PROTOCOL="ssh", GIT_SSH_COMMAND=shlex.join(command), GIT_SSH_VARIANT="ssh"
    )
    return Access((), Conditions(LIMITS, variables, confined=False))


def _bracketed(host: str | Address) -> str:
    return f"[{host}]" if isinstance(host, ipaddress.IPv6Address) else str(host)
