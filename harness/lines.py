"""Text of others on one line: for the status, for reports, for the answers to commands."""


def one_line(text: str, limit: int) -> str:
    """Return `text` on one line, without control characters and not too long."""
    line = "".join(c if c.isprintable() else " " for c in text[: 4 * limit])
    line = " ".join(line.split())
    return line if len(line) <= limit else f"{line[: limit - 3]}..."
