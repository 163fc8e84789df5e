"""Write the manual pages, and the options of the NixOS modules and their page: `python -m man`."""

from man import nix_options, nix_page
from man.pages import PAGES, render


def main() -> None:
    """Write each page beside its source, and the options beside the modules."""
    for path in PAGES:
        path.write_text(render(path))
    nix_options.FILE.write_text(nix_options.nix_options())
    if nix_page.is_possible():
        nix_page.FILE.write_text(nix_page.page())


if __name__ == "__main__":
    main()
