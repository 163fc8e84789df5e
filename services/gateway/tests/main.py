"""The gateway of alice with another directory of settings: `... DIRECTORY`."""

import sys
from pathlib import Path

from services.gateway import __main__, settings

if __name__ == "__main__":
    directory = Path(sys.argv.pop())
    __main__.DIRECTORY = settings.DIRECTORY = directory
    sys.argv.append("alice")
    __main__.main()
