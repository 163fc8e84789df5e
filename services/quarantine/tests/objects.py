"""Git objects that git itself would never write."""

import hashlib
import zlib
from collections.abc import Iterable
from pathlib import Path

ZEROS = 2**20
_KINDS = {"commit": 1, "tree": 2, "blob": 3}


def name_of(kind: str, content: bytes) -> str:
    return hashlib.sha1(f"{kind} {len(content)}\0".encode() + content).hexdigest()


def write_loose(git: Path, kind: str, content: bytes, *, name: str | None = None) -> str:
    """Write one object, under the name of another one if given; return its name."""
    name = name or name_of(kind, content)
    write_raw(git, name, zlib.compress(f"{kind} {len(content)}\0".encode() + content, 1))
    return name


def write_raw(git: Path, name: str, data: bytes) -> Path:
    path = git / "objects" / name[:2] / name[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    return path


def tree(*entries: tuple[str, str, str]) -> bytes:
    """Return the content of a tree: mode, name and object of each entry, in the given order."""
    return b"".join(f"{m} {n}\0".encode() + bytes.fromhex(o) for m, n, o in entries)


def commit(of: str, *parents: str) -> bytes:
    """Return the content of a commit of the tree `of`."""
    lines = [f"tree {of}", *(f"parent {parent}" for parent in parents)]
    lines += [
        f"{who} agent <agent@hive.invalid> 1700000000 +0000" for who in ("author", "committer")
    ]
    return ("\n".join(lines) + "\n\nhostile\n").encode()


def zeros(mebibytes: int, before: bytes = b"") -> bytes:
    """Return `before` and so many MiB of zeros, packed by zlib to a thousandth, quickly."""
    packing = zlib.compressobj(9, wbits=-15)
    start = b"\x78\xda" + packing.compress(before) + packing.flush(zlib.Z_FULL_FLUSH)
    chunk = packing.compress(bytes(ZEROS)) + packing.flush(zlib.Z_FULL_FLUSH)
    # Each zero adds the lower half of the checksum to the upper one.
    checksum = zlib.adler32(before) if before else 1
    low, high = checksum & 0xFFFF, checksum >> 16
    high = (high + low * mebibytes * ZEROS) % 65521
    return start + chunk * mebibytes + packing.flush() + (high << 16 | low).to_bytes(4)


def entry(kind: str, size: int, packed: bytes) -> bytes:
    """Return one object of a pack that claims the size `size`."""
    head = bytearray()
    byte = _KINDS[kind] << 4 | size & 15
    size >>= 4
    while size:
        head.append(byte | 0x80)
        byte, size = size & 0x7F, size >> 7
    return bytes(head) + bytes([byte]) + packed


def write_pack(git: Path, entries: Iterable[bytes], count: int | None = None) -> str:
    """Write a pack that claims to have `count` objects; return the name of its file."""
    body = list(entries)
    count = len(body) if count is None else count
    data = b"PACK" + (2).to_bytes(4) + count.to_bytes(4) + b"".join(body)
    digest = hashlib.sha1(data)
    (git / "objects/pack").mkdir(parents=True, exist_ok=True)
    name = f"pack-{digest.hexdigest()}.pack"
    (git / "objects/pack" / name).write_bytes(data + digest.digest())
    return name
