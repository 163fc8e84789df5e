"""The files of the pages, read once."""

import re
from pathlib import Path
from typing import Final

SECTIONS: Final[tuple[str, ...]] = ("cost", "logs", "network", "settings")
"""The sections that have a page of their own: /NAME is the file NAME.html. The links to them are
in shared_sections.html."""

STATIC: Final = Path(__file__).parents[1] / "static"
VENDOR: Final = Path(__file__).parents[1] / "vendor"
"""The files of npm packages, which sandbox/vendor.py fetches; vendor.toml names them."""

SHARED: Final = re.compile(r"^ *<!-- (shared_[a-z]+\.html) -->\n", re.MULTILINE)
"""The line of a page in whose place another file stands, which several pages have in common."""


COUNTS: Final = (*map(str, range(1, 10)), "many")
"""The counts that an icon shows; `icon-3.svg` is the one for three."""


def load(directory: Path = STATIC, vendor: Path = VENDOR) -> dict[str, bytes]:
    """Return the contents of the files to serve, by name; of pages with all that they share.

    A file that the setup fetches does not take the place of one of ours.
    """
    files = {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}
    shared = {name: text for name, text in files.items() if name.startswith("shared_")}
    for name in files.keys() - shared.keys():
        if name.endswith(".html"):
            page = SHARED.sub(lambda line: shared[line[1]].decode(), files[name].decode())
            files[name] = page.encode()
    if icon := files.get("icon.svg"):
        files |= {f"icon-{count}.svg": _with_badge(icon, count) for count in COUNTS}
    served = {name: text for name, text in files.items() if name not in shared}
    return vendored(vendor) | served


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
