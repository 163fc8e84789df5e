"""The composition root of hive-build@NAME.service: `python -m services.build NAME`.

The variable HIVE_COMMIT has the commit to build.
"""

import os
import sys
from pathlib import Path
from typing import Final

from services.build.apt import Apt
from services.build.builder import Builder, BuildError, say
from services.build.nix import Nix
from services.config import Config
from services.errors import ConfigError

APPLIED: Final = Path("/var/lib/hyperhive/git/applied")
BUILDS: Final = Path("/var/lib/hyperhive/builds")
CACHE: Final = Path("/var/cache/hyperhive/build")


def main() -> int:
    """Build, and return the exit status.

    Returns:
        0 if the build exists; 1 if it failed, and the last line of output says why.
    """
    agent, commit = sys.argv[1], os.environ.get("HIVE_COMMIT", "")
    try:
        cache = Path(os.environ.get("CACHE_DIRECTORY", CACHE))
        config = Config.load()
        nixos = config.lifecycle.backend == "nixos"
        systems = Nix(APPLIED, cache / "nix", config.nixos) if nixos else None
        Builder(APPLIED, BUILDS, Apt(cache), config, systems).build(agent, commit)
    except (BuildError, ConfigError) as error:
        say(str(error))
        return 1
    except OSError as error:  # usually a full disk
        say(f"The build could not be written: {error}. Check the disk (df {BUILDS}).")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
