"""The directories that systemd makes for a service and names in its environment."""

import os
from pathlib import Path


def state_directory(name: str) -> Path:
    """Return the directory of what the service `name` keeps: its unit's StateDirectory=."""
    return Path(os.environ.get("STATE_DIRECTORY", f"/var/lib/hyperhive/{name}"))


def runtime_directory(name: str) -> Path:
    """Return the directory of what the service `name` forgets: its unit's RuntimeDirectory=."""
    return Path(os.environ.get("RUNTIME_DIRECTORY", f"/run/hyperhive-{name}"))
