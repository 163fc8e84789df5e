"""The frames in which a container's shell gets what the operator types: see harness/terminal.py."""

import struct
from typing import Final

TEXT: Final = 0
SIZE: Final = 1
MAX_TEXT: Final = 64 * 1024
MAX_CELLS: Final = 1000
"""The most rows, and the most columns."""

_HEAD: Final = struct.Struct(">BI")
_SIZE: Final = struct.Struct(">HH")


def text(data: bytes) -> bytes:
    """Return the frame of what was typed, at most MAX_TEXT bytes."""
    return _HEAD.pack(TEXT, len(data)) + data


def size(rows: int, columns: int) -> bytes:
    """Return the frame of the size of the terminal."""
    bounded = (max(1, min(rows, MAX_CELLS)), max(1, min(columns, MAX_CELLS)))
    return _HEAD.pack(SIZE, _SIZE.size) + _SIZE.pack(*bounded)
