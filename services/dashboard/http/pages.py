"""The files of the pages, read once."""

import re
from pathlib import Path
from typing import Final

SECTIONS: Final[tuple[str, ...]] = ()
"""The sections that have a page of their own: /NAME is the file NAME.html. The links to them are
in shared_sections.html."""

STATIC: Final = Path(__file__).parents[1] / "static"
SHARED: Final = re.compile(r"^ *<!-- (shared_[a-z]+\.html) -->\n", re.MULTILINE)
"""The line of a page in whose place another file stands, which several pages have in common."""


def load(directory: Path = STATIC) -> dict[str, bytes]:
    """Return the contents of the files to serve, by name; of pages with all that they share."""
    files = {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}
    shared = {name: text for name, text in files.items() if name.startswith("shared_")}
    for name in files.keys() - shared.keys():
        if name.endswith(".html"):
            page = SHARED.sub(lambda line: shared[line[1]].decode(), files[name].decode())
            files[name] = page.encode()
    return {name: text for name, text in files.items() if name not in shared}
