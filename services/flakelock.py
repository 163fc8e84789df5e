"""flake.lock of an agent: the check of a file that an agent has written, and its parts.

    lock = flakelock.parse(text)
    flakelock.check_current(lock, deployed)

Nix fetches whatever a lock names, so only sources on other hosts are allowed, each pinned by a
hash. Nothing here evaluates Nix code: the files are compared as JSON.
"""

import json
import re
from collections.abc import Iterator
from typing import Annotated, Any, Final, NamedTuple

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    StringConstraints,
    ValidationError,
)

NAME: Final = "flake.lock"

MAX_BYTES: Final = 256 * 1024
MAX_NODES: Final = 500
MAX_INPUTS: Final = 100
"""The most inputs of one node."""
MAX_SHOWN: Final = 80
"""The characters of a value that an error repeats."""

VERSION: Final = 7
"""The version of the format that Nix 2.4 and later write."""

_FORGES: Final = ("github", "gitlab", "sourcehut")
_SCHEMES: Final = {
    "git": ("https://", "ssh://"),
    "tarball": ("https://",),
    "file": ("https://",),
}
"""The types with a URL, and how the URL begins: any other names a file of the host."""
_IDENTITY: Final = ("owner", "repo", "host", "url", "dir")
"""The attributes of a source that are the same in `original` and in `locked`."""

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_'-]{0,63}$")]
Value = StrictBool | StrictInt | Annotated[StrictStr, StringConstraints(max_length=1024)]
Source = Annotated[dict[Name, Value], Field(max_length=20)]
Follows = Annotated[tuple[Name, ...], Field(max_length=20)]
Key = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Node(_Part):
    """An input, or the root: its inputs are keys of nodes, or paths from the root to an input."""

    inputs: Annotated[dict[Name, Key | Follows], Field(max_length=MAX_INPUTS)] = {}
    locked: Source | None = None
    original: Source | None = None
    flake: StrictBool = True


class Lock(_Part):
    """The whole file."""

    nodes: Annotated[dict[Key, Node], Field(max_length=MAX_NODES)]
    root: Key
    version: StrictInt


class Input(NamedTuple):
    """A direct input: its source as flake.nix has it, or the input that it follows."""

    source: Source | None
    flake: bool
    follows: Follows


EMPTY: Final = Lock(nodes={"root": Node()}, root="root", version=VERSION)
"""The lock of a flake without inputs."""


def parse(text: str) -> Lock:
    """Return the content of a flake.lock.

    Raises:
        ValueError: it is not valid, or names a source that is not allowed; one sentence says which.
    """
    if len(text.encode(errors="replace")) > MAX_BYTES:
        raise ValueError(f"{NAME} has more than {MAX_BYTES // 1024} KiB.")
    try:
        lock = Lock.model_validate(json.loads(text))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(_shown(part) for part in first["loc"])
        raise ValueError(f"{NAME} is not valid: {place}: {first['msg']}.") from None
    except (ValueError, RecursionError):
        raise ValueError(f"{NAME} is not valid JSON; `nix flake lock` writes it.") from None
    if lock.version != VERSION:
        raise ValueError(
            f"{NAME} has the version {_shown(lock.version)}, not {VERSION}, as Nix 2.4 and later "
            "write it."
        )
    _check_graph(lock)
    for key, node in lock.nodes.items():
        if key != lock.root:
            _check_source(key, node)
    return lock


def inputs(lock: Lock) -> dict[str, Input]:
    """Return the direct inputs of the flake, as its flake.nix declares them."""
    return {name: _input(lock, to) for name, to in lock.nodes[lock.root].inputs.items()}


def check_current(lock: Lock, deployed: Lock) -> None:
    """Check that `lock` has the inputs of an unchanged flake.nix, which `deployed` was made for.

    Raises:
        ValueError: it has others, so Nix would have to make another lock.
    """
    new, old = inputs(lock), inputs(deployed)
    for name in sorted(new.keys() | old.keys()):
        if new.get(name) != old.get(name):
            how = "lacks" if name not in new else "has" if name not in old else "changes"
            raise ValueError(
                f"{NAME} is stale: it {how} the input {name}, compared with flake.nix. Run `nix "
                "flake lock`, and commit the file."
            )


def addresses(lock: Lock) -> list[str]:
    """Return beginnings of the addresses from which Nix fetches the inputs, for allowed-uris."""
    found = set()
    for node in lock.nodes.values():
        locked = node.locked or {}
        kind, url = str(locked.get("type", "")), str(locked.get("url", ""))
        if kind in _FORGES:
            found.add(f"{kind}:{locked.get('owner')}/{locked.get('repo')}")
        elif kind in _SCHEMES:
            host = "/".join(url.split("/")[:3])
            found |= {f"{host}/", f"{kind}+{host}/"}
    # A blank would begin another address.
    return sorted(address for address in found if not re.search(r"[\s']", address))


def _input(lock: Lock, to: str | Follows) -> Input:
    if not isinstance(to, str):
        return Input(None, True, to)
    node = lock.nodes[to]
    return Input(node.original, node.flake, ())


def _check_graph(lock: Lock) -> None:
    """Check that the nodes are those that can be reached from the root, as in files of Nix."""
    if lock.root not in lock.nodes:
        raise ValueError(f"{NAME} has no node {_shown(lock.root)}, which is its root.")
    reached, ahead = {lock.root}, [lock.root]
    while ahead:
        for to in _targets(lock.nodes[ahead.pop()]):
            if to not in lock.nodes:
                raise ValueError(f"{NAME} has no node {_shown(to)}, which is an input in it.")
            if to == lock.root:
                raise ValueError(f"{NAME} has its root as an input.")
            if to not in reached:
                reached.add(to)
                ahead.append(to)
    if unused := sorted(lock.nodes.keys() - reached):
        raise ValueError(
            f"{NAME} is stale: the node {_shown(unused[0])} is no input. Run `nix flake lock`, and "
            "commit the file."
        )


def _targets(node: Node) -> Iterator[str]:
    return (to for to in node.inputs.values() if isinstance(to, str))


def _check_source(key: str, node: Node) -> None:
    """Check that a node is pinned, and that its source is on another host."""
    locked, original = node.locked, node.original
    if locked is None or original is None:
        raise ValueError(f"{NAME}: the input {_shown(key)} is not locked.")
    kind, url = locked.get("type"), str(locked.get("url", ""))
    if kind not in _FORGES and not (kind in _SCHEMES and url.startswith(_SCHEMES[str(kind)])):
        raise ValueError(
            f"{NAME}: the input {_shown(key)} has the source {_shown(kind)} {_shown(url)}, which "
            "is not allowed: use github, gitlab, sourcehut, or git or an archive at an https:// "
            "address."
        )
    pinned = ("narHash",) if kind in ("tarball", "file") else ("narHash", "rev")
    if missing := [pin for pin in pinned if not isinstance(locked.get(pin), str)]:
        raise ValueError(f"{NAME}: the input {_shown(key)} has no {missing[0]}.")
    for part in ("dir", "owner", "repo", "host"):
        if ".." in str(locked.get(part, "")):
            raise ValueError(f"{NAME}: the {part} of the input {_shown(key)} has `..` in it.")
    # An archive may be locked at another address, to which its own one leads.
    same = original.get("type") == kind and kind not in ("tarball", "file")
    for part in _IDENTITY if same else ():
        if original.get(part) != locked.get(part):
            raise ValueError(
                f"{NAME}: the input {_shown(key)} is locked to another {part} "
                f"({_shown(locked.get(part))}) than flake.nix names ({_shown(original.get(part))})."
            )


def _shown(value: Any) -> str:
    text = str(value)
    shown = text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
    return shown if shown.isprintable() and shown else repr(shown)
