"""Write the manual pages: `python -m man`."""

from man.pages import PAGES, render


def main() -> None:
    """Write each page beside its source."""
    for path in PAGES:
        path.write_text(render(path))


if __name__ == "__main__":
    main()
