"""docs/nixos-options.md: every option of the NixOS modules, as Nix itself lists them."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, TypedDict

ROOT: Final = Path(__file__).parents[1]
FILE: Final = ROOT / "docs/nixos-options.md"
MODULES: Final = ("default", "forge")
"""The modules whose options are listed."""

_HEADER: Final = """\
# Options of the NixOS modules

`make man` makes this page, if Nix is installed. [NixOS](nixos.md) introduces the modules.
An option below `services.hyperhive.settings` is a key of hyperhive.toml. If it is null, the key is
not written, and Hyperhive's own default applies.

| option | type | default | |
|---|---|---|---|
"""


class Option(TypedDict):
    """An option, as tests/nixpkgs/evaluate.nix lists it."""

    name: str
    type: str
    default: str
    description: str


def is_possible() -> bool:
    """Return whether the page can be made here."""
    return shutil.which("nix-instantiate") is not None


def page() -> str:
    """Return the text of the page."""
    return "".join([_HEADER, *_rows(_options())])


def _rows(options: list[Option]) -> Iterator[str]:
    for option in options:
        cells = (
            f"`{option['name']}`",
            re.sub(r"matching the pattern \S+", "of a certain form", option["type"]),
            f"`{option['default']}`" if option["default"] else "",
            option["description"],
        )
        texts = [_plain(cell) for cell in cells]
        yield f"| {' | '.join(texts)} |\n"


def _plain(text: str) -> str:
    """Return a text of nixpkgs' dialect of Markdown as one cell of a table."""
    words = re.sub(r"\{(?:file|option|manpage)\}(`[^`]*`)", r"\1", text)
    return " ".join(words.split()).replace("|", "\\|")


def _options() -> list[Option]:
    paths = " ".join(str(ROOT / "nix/modules" / f"{name}.nix") for name in MODULES)
    with TemporaryDirectory() as home:
        places = {f"NIX_{kind}_DIR": f"{home}/{kind.lower()}" for kind in ("STATE", "STORE", "LOG")}
        done = subprocess.run(
            [
                *("nix-instantiate", "--eval", "--strict", "--json", "-A", "options"),
                *("--arg", "modules", f"[ {paths} ]"),
                str(ROOT / "tests/nixpkgs/evaluate.nix"),
            ],
            env={
                **os.environ,
                **places,
                "NIX_CONF_DIR": home,
                "NIX_CONFIG": "build-users-group =\n",
            },
            check=True,
            capture_output=True,
            text=True,
        )
    found: list[Option] = json.loads(done.stdout)
    return found
