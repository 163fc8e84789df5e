"""hive-notify.service. It owns no name on the bus: nobody calls it."""

from services import unit
from services.config import Config
from services.notify.service import build

if __name__ == "__main__":
    unit.main("notify", lambda bus: build(bus, Config.load()))
