"""The gateway of alice with another directory of settings: `... DIRECTORY`."""

import sys
from pathlib import Path

from services.gateway import __main__

if __name__ == "__main__":
    vars(__main__)["DIRECTORY"] = Path(sys.argv[1])
    sys.argv[1] = "alice"
    __main__.main()
