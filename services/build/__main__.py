"""`python -m services.build NAME`, as hive-build@NAME.service runs it: HIVE_COMMIT says what."""

import os
import sys
from pathlib import Path
from typing import Final

from services.build.apt import Apt
from services.build.builder import Builder, BuildError, say
from services.config import Config
from services.errors import ConfigError

APPLIED: Final = Path("/var/lib/hyperhive/git/applied")
BUILDS: Final = Path("/var/lib/hyperhive/builds")
CACHE: Final = Path("/var/cache/hyperhive/build")


def main() -> int:
    """0: what is to be built is there. 1: it is not, and the last line says why."""
    agent, commit = sys.argv[1], os.environ.get("HIVE_COMMIT", "")
    try:
        cache = Path(os.environ.get("CACHE_DIRECTORY", CACHE))
        Builder(APPLIED, BUILDS, Apt(cache), Config.load()).build(agent, commit)
    except (BuildError, ConfigError) as error:
        say(str(error))
        return 1
    except OSError as error:  # the disk is full, as a rule
        say(f"The build cannot be written: {error}.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
