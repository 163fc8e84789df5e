"""The files of the pages, read once."""

import hashlib
import re
from html import escape
from pathlib import Path
from typing import Final

from aiohttp import web

SECTIONS: Final[tuple[str, ...]] = (
    "approvals",
    "cost",
    "deploys",
    "logs",
    "messages",
    "network",
    "projects",
    "settings",
)
"""The sections that have a page of their own: /NAME is the file NAME.html. The links to them are
in shared_header.html."""

STATIC: Final = Path(__file__).parents[1] / "static"
VENDOR: Final = Path(__file__).parents[1] / "vendor"
"""The files of npm packages, which installer/vendor.py fetches; vendor.toml names them."""

SHARED: Final = re.compile(r"^ *<!-- (shared_[a-z]+\.html) -->\n", re.MULTILINE)
"""The line in whose place another file stands, which several pages have in common."""

VERSION: Final = 'content="VERSION"'
"""The attribute that gets the version of all files. A page that finds that the dashboard has
another version is loaded again; a shared worker of another version, which lives as long as a tab of
it is open, is not used by new pages."""

ERROR: Final = "error.html"
"""The page of an error; `error` fills it."""

NO_PAGES: Final = ("/api", "/static", "/terminals", "/metrics", "/logout", "/refused", "/hooks")
"""The paths that are not pages, nor any path below them; neither are those below /login."""


def is_page(path: str) -> bool:
    """Return whether a path is an address that a person opens, known or not.

    Other sites may link to a page. A page is a shell, which its script fills.
    """
    return not path.startswith("/login/") and not any(
        path == one or path.startswith(f"{one}/") for one in NO_PAGES
    )


COUNTS: Final = (*map(str, range(1, 10)), "many")
"""The counts that an icon shows; `icon-3.svg` is the one for three."""


def load(directory: Path = STATIC, vendor: Path = VENDOR) -> dict[str, bytes]:
    """Return the contents of the files to serve, by name; of pages with all that they share.

    A file that the setup fetches does not take the place of one of ours.
    """
    files = {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}
    shared = {name: text for name, text in files.items() if name.startswith("shared_")}
    version = f'content="{version_of(directory, vendor)}"'
    for name in files.keys() - shared.keys():
        if name.endswith(".html"):
            files[name] = _whole(files[name], shared).replace(VERSION, version).encode()
    if icon := files.get("icon.svg"):
        files |= {f"icon-{count}.svg": _with_badge(icon, count) for count in COUNTS}
    served = {name: text for name, text in files.items() if name not in shared}
    return vendored(vendor) | served


def version_of(directory: Path = STATIC, vendor: Path = VENDOR) -> str:
    """Return a text that is another one when any file that is served has changed."""
    found = hashlib.sha256()
    for folder in (directory, vendor):
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.is_file() and not path.name.startswith("."):
                found.update(f"{path.name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()[:16]


def vendored(directory: Path = VENDOR) -> dict[str, bytes]:
    """Return the files of npm packages by name; nothing if the setup has not fetched them."""
    if not directory.is_dir():
        return {}
    return {p.name: p.read_bytes() for p in directory.iterdir() if not p.name.startswith(".")}


def _with_badge(icon: bytes, count: str) -> bytes:
    """Return the icon with the number of what waits for the operator, so that a tab shows it."""
    sign = "9+" if count == "many" else count
    size = 10 if len(sign) > 1 else 13
    badge = (
        '<circle cx="16" cy="16" r="8" fill="#b3261e"/>'
        f'<text x="16" y="{16 + size * 0.36:g}" font-family="sans-serif" font-weight="700" '
        f'font-size="{size}" fill="#fff" text-anchor="middle">{sign}</text>'
    )
    return icon.replace(b"</svg>", badge.encode() + b"</svg>")


def error(sentence: str) -> str:
    """Return the page of an error, with a sentence in which backticks mark a command."""
    parts = [escape(part) for part in sentence.split("`")]
    shown = "".join(f"<code>{part}</code>" if n % 2 else part for n, part in enumerate(parts))
    return _ERROR.replace("SENTENCE", shown)


def marked_if_linked(request: web.Request, page: bytes) -> bytes:
    """Return a page, which knows whether another site has led to it."""
    if request.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin"):
        return page
    return page.replace(b"<main", b"<main data-linked", 1)


def _whole(page: bytes, shared: dict[str, bytes]) -> str:
    """Return a page, or a part of one, with the parts that it names."""
    return SHARED.sub(lambda line: _whole(shared[line[1]], shared), page.decode())


_ERROR: Final = (STATIC / ERROR).read_text()
