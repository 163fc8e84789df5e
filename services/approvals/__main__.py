"""hive-approvals.service."""

from services import unit
from services.approvals.service import build
from wire import names

if __name__ == "__main__":
    unit.main("approvals", build, bus_name=names.APPROVALS)
