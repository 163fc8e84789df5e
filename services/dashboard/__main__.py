"""The dashboard's composition root: `python -m services.dashboard`, by hive-dashboard.service."""

import os
from pathlib import Path

from services import unit
from services.config import Config
from services.dashboard.dashboard import Dashboard
from services.dashboard.listener import ListenerError, inherited
from services.errors import ConfigError
from wire import names
from wire.bus import Bus

STATE = "/var/lib/hyperhive/dashboard"


async def build(bus: Bus, config: Config) -> Dashboard:
    """The dashboard on the socket that systemd handed over."""
    try:
        listener = inherited()
    except ListenerError as error:
        raise ConfigError(str(error)) from error
    state = Path(os.environ.get("STATE_DIRECTORY", STATE))
    return Dashboard(bus, listener, state, config.dashboard)


if __name__ == "__main__":
    unit.main("dashboard", lambda bus: build(bus, Config.load()), bus_name=names.DASHBOARD)
