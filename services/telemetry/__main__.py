"""The composition root of hive-telemetry.service."""

import logging
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from services import unit
from services.config import Config
from services.errors import ConfigError
from services.telemetry.interface import Telemetry1
from services.telemetry.telemetry import Telemetry
from wire import names
from wire.bus import Bus

if TYPE_CHECKING:
    from services.telemetry.exporter import OtlpExporter

log = logging.getLogger(__name__)

CREDENTIALS: Final = "/etc/hyperhive/credentials/telemetry"
_PREFIX: Final = "telemetry_"
_HEADER: Final = re.compile(r"[A-Za-z0-9-]{1,64}")


class IdleService(unit.Service):
    """A service that has nothing to do, because no collector is configured."""

    async def run(self) -> None:
        """Return at once: systemd sees a service that has ended successfully."""
        log.info("no collector is configured (telemetry.endpoint of hyperhive.toml)")
        unit.status("No collector is configured.")


class TelemetryService(unit.Service):
    """The running service."""

    def __init__(self, telemetry: Telemetry, exporter: "OtlpExporter") -> None:
        self._telemetry = telemetry
        self._exporter = exporter

    async def run(self) -> None:
        """Export spans until cancelled."""
        await self._telemetry.run()

    async def close(self) -> None:
        """Export what is left, once."""
        await self._telemetry.flush()
        self._exporter.close()


async def build(bus: Bus, config: Config) -> unit.Service:
    """Put the room together on `bus`, whose name is not owned yet.

    Raises:
        ConfigError: a header cannot be used.
    """
    endpoint = config.telemetry.endpoint
    if endpoint is None:
        return IdleService()
    # The import takes long, and a service without a collector does not need it.
    from services.telemetry.exporter import OtlpExporter

    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    exporter = OtlpExporter(endpoint, headers(Path(folder)) if folder else {})
    telemetry = Telemetry(exporter, config.telemetry, status=unit.status)
    bus.export(names.TELEMETRY_PATH, Telemetry1(telemetry))
    return TelemetryService(telemetry, exporter)


def headers(folder: Path) -> dict[str, str]:
    """Return the headers that systemd has passed from CREDENTIALS, by their names.

    Raises:
        ConfigError: a file cannot be read, or is not a valid header.
    """
    found = {}
    for path in sorted(folder.glob(f"{_PREFIX}*")):
        name = path.name.removeprefix(_PREFIX)
        try:
            value = path.read_text().strip()
        except UnicodeDecodeError:
            value = ""
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
        if not _HEADER.fullmatch(name) or not re.fullmatch(r"[ -~]+", value):
            raise ConfigError(
                f"{CREDENTIALS}/{name} is not a valid header: the file has the name of a header, "
                "such as authorization, and one line of printable ASCII characters."
            )
        found[name.lower()] = value
    return found


if __name__ == "__main__":
    unit.main("telemetry", lambda bus: build(bus, Config.load()), bus_name=names.TELEMETRY)
