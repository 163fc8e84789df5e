"""hive-approvals.service."""

from services import unit
from services.approvals.service import build
from services.config import Config
from wire import names

if __name__ == "__main__":
    unit.main("approvals", lambda bus: build(bus, Config.load()), bus_name=names.APPROVALS)
