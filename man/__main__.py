"""Write the manual pages, the sample of hyperhive.toml, the options of NixOS: `python -m man`."""

from man import nix_options, nix_page, sample
from man.pages import PAGES, render


def main() -> None:
    """Write each page beside its source, the sample, and the options beside the modules."""
    for path in PAGES:
        path.write_text(render(path))
    sample.FILE.write_text(sample.sample())
    nix_options.FILE.write_text(nix_options.nix_options())
    if nix_page.is_possible():
        nix_page.FILE.write_text(nix_page.page())


if __name__ == "__main__":
    main()
