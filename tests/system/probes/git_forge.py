"""Serve the repositories below ROOT over https and ssh, with the forge of the room's tests.

`git_forge.py REPO ROOT`: prints a line of JSON with its ports and keys, then `asked` for each
repository of ssh whose name begins with `slow`, which it serves when a line comes on its input.
"""

import asyncio
import json
import sys
from pathlib import Path

sys.path.insert(0, sys.argv[1])

from services.projects.tests import forge
from services.quarantine.tests.worktree import WorkTree


async def main(root: Path) -> None:
    """Make the repositories, and serve them until the input ends."""
    work = WorkTree(root / "work")
    work.commit({"README": "one\n"})
    for name in ("website.git", "slow.git"):
        work.git("clone", "-q", "--bare", ".", str(root / name))
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    may_go = asyncio.Event()

    async def asked(path: str) -> None:
        if Path(path).name.startswith("slow"):
            print("asked", flush=True)
            await may_go.wait()

    with forge.https(root) as https:
        async with forge.ssh(root, asked=asked) as ssh:
            told = {"https": https.port, "ssh": ssh.port, "key": ssh.key}
            print(json.dumps(told | {"fingerprint": ssh.fingerprint}), flush=True)
            while await lines.readline():
                may_go.set()


if __name__ == "__main__":
    Path(sys.argv[2]).mkdir(parents=True)
    asyncio.run(main(Path(sys.argv[2])))
