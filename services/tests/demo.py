"""A room for the tests of services.unit; the environment variable DEMO selects its end."""

import asyncio
import os

from services import unit
from services.config import Config
from services.errors import DiskFull
from wire.bus import Bus
from wire.errors import CorruptStore
from wire.interface import Interface, method
from wire.principal import EVERYBODY
from wire.types import Str

NAME = "org.hyperhive.Demo1"
PATH = "/org/hyperhive/Demo1"


class Demo1(Interface, name=NAME):
    @method(allow=EVERYBODY)
    async def Wait(self) -> Str:  # noqa: N802 - a D-Bus member
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            print("call ended", flush=True)
        return "never"


class Demo(unit.Service):
    async def run(self) -> None:
        match os.environ.get("DEMO"):
            case "returns":
                return
            case "raises":
                raise RuntimeError("run broke")
            case "breaks at its end":
                try:
                    await super().run()
                finally:
                    raise RuntimeError("the end broke")
            case _:
                await super().run()

    async def close(self) -> None:
        print("closed", flush=True)


async def build(bus: Bus, config: Config) -> unit.Service:
    if os.environ.get("DEMO") == "corrupt":
        sentence = "/var/lib/x.sqlite is corrupt; restore a backup or move it away."
        raise CorruptStore(os.environ.get("TEXT", sentence))
    if os.environ.get("DEMO") == "full":
        raise DiskFull("The disk of /var/lib/x.sqlite is full.")
    bus.export(PATH, Demo1())
    return Demo()


if __name__ == "__main__":
    unit.PAUSE = float(os.environ.get("PAUSE", unit.PAUSE))  # type: ignore[misc]
    unit.main("demo", lambda bus: build(bus, Config.load()), bus_name=NAME)
