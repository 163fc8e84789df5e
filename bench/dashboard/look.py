"""Screenshots of every page of the dashboard: busy and empty, dark and light, three widths.

`python -m bench.dashboard look DIRECTORY` writes them as HIVE-THEME-WIDTH-VIEW.png. The dashboard
is the real one, in this process, and the services are fakes; nothing is measured. The first picture
of a view is a window, or the screen of a phone; if the page scrolls, a second one shows all of it.
"""

import asyncio
import base64
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final
from unittest.mock import patch
from urllib.parse import parse_qs, urlsplit

import aiohttp

from bench.dashboard import project_scene, scene
from bench.dashboard.stage import log_in
from services.config import DashboardConfig
from services.dashboard import __main__ as root
from services.dashboard.__main__ import DashboardService
from services.dashboard.clients.samples import Samples
from services.dashboard.http.passkeys import Passkey
from services.dashboard.tests.browser import Browser, open_browser
from services.dashboard.tests.fake_harness import FakeHarness, serving
from services.dashboard.tests.fakes.hive import FakeHive
from services.dashboard.tests.shells import offered
from wire import names, web_socket
from wire.agent_web import AgentWeb
from wire.bus import Bus
from wire.clients.dashboard import DashboardClient
from wire.records.dashboard import Role
from wire.testing import FixedPrincipals, private_bus

HIVES: Final = ("busy", "empty")
THEMES: Final = ("dark", "light")
SIZES: Final = {1440: 900, 1280: 800, 360: 740}
"""The widths of windows, with their heights."""
TALLEST: Final = {1440: 2000, 1280: 2000, 360: 9000}
STEPS: Final = 14
"""The samples of each agent."""
STEP_SECONDS: Final = 0.25

BROWSERS: Final = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/131.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 Version/18.1 "
    "Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:132.0) Gecko/20100101 Firefox/132.0",
    "curl/8.5.0",
)

# Whether the page has drawn what it has, and nothing has changed for a moment.
QUIET: Final = """
const done = arguments[0];
const changes = new MutationObserver(wait);
let timer = 0;
const end = setTimeout(finish, 6000);
function finish() {
  changes.disconnect();
  clearTimeout(end);
  document.fonts.ready.then(() => requestAnimationFrame(() => setTimeout(done)));
}
function wait() {
  clearTimeout(timer);
  timer = setTimeout(finish, 500);
}
changes.observe(document, { subtree: true, childList: true, attributes: true });
wait();
"""

# How high a window would have to be to show the whole page.
HIGHEST: Final = """
const inner = [...document.querySelectorAll("*")].map((one) =>
  ["auto", "scroll"].includes(getComputedStyle(one).overflowY)
    ? one.scrollHeight - one.clientHeight : 0);
return innerHeight + Math.max(0, document.documentElement.scrollHeight - innerHeight, ...inner);
"""


@dataclass(frozen=True, slots=True)
class View:
    """A page, and the presses that show the part that is looked at."""

    name: str
    path: str
    script: str = ""
    of_busy: bool = False
    """Whether only a busy hive has it."""


ALICE: Final = f"/agents/{scene.ALICE}"
OPEN: Final = "for (const one of document.querySelectorAll('{}')) one.open = true;"
CLICK: Final = "document.querySelector('{}').click();"
REVIEWED: Final = f"/changes/{project_scene.REVIEWED}"
COMMENT: Final = (
    CLICK.format(".line.added")
    + CLICK.format(".line-bar button")
    + CLICK.format("#decision [data-verb=request]")
)


def _tab(name: str) -> View:
    return View(f"agent-{name}", ALICE, CLICK.format(f"#tab-{name}"), of_busy=True)


VIEWS: Final = (
    View("overview", "/"),
    View(
        "overview-menu", "/", CLICK.format(".agents tbody tr:nth-child(8) .menu-of"), of_busy=True
    ),
    View("overview-palette", "/", CLICK.format("#find")),
    View(
        "overview-keys",
        "/",
        "document.body.dispatchEvent(new KeyboardEvent('keydown', {key: '?', bubbles: true}));",
    ),
    View("messages", "/messages"),
    *(
        View(f"messages-{name}", "/messages", CLICK.format(f"[data-view={name}]"))
        for name in ("inbox", "dead", "questions", "reminders")
    ),
    View("approvals", "/approvals"),
    View("approvals-change", "/approvals", OPEN.format(".pending details"), of_busy=True),
    View("projects", "/projects"),
    View("projects-change", REVIEWED, of_busy=True),
    View("projects-comment", REVIEWED, COMMENT, of_busy=True),
    View("projects-unknown", "/changes/99"),
    View("deploys", "/deploys"),
    View("cost", "/cost"),
    View("network", "/network"),
    View("logs", "/logs"),
    View("settings", "/settings"),
    View("agent", ALICE, of_busy=True),
    *(_tab(name) for name in ("messages", "turns", "days", "egress", "logs")),
    View("agent-stopped", f"/agents/{scene.BOB}", of_busy=True),
    View("agent-held", "/agents/trent", of_busy=True),
    View("agent-unknown", "/agents/nobody"),
    View("configuration", f"{ALICE}/configuration", of_busy=True),
    View("configuration-edit", f"{ALICE}/configuration", CLICK.format(".edit"), of_busy=True),
    View("turn", f"{ALICE}/turns/146", of_busy=True),
    View("terminal", f"{ALICE}/terminal", of_busy=True),
    View("error", "/no-such-page"),
    View("login", "/login"),
)


@dataclass(slots=True)
class Shown:
    """A hive to look at."""

    url: str
    bus: Bus

    async def token(self) -> str:
        """Return the token of a new login link."""
        link = await DashboardClient(self.bus).login_link(Role.OPERATOR)
        return parse_qs(urlsplit(link).fragment)["token"][0]


async def look(folder: Path, scratch: Path, wanted: "Wanted") -> None:
    """Write the pictures into `folder`; `scratch` takes the rest."""
    for kind in wanted.hives:
        place = scratch / kind
        for part in (place, folder):
            part.mkdir(parents=True, exist_ok=True)
        async with AsyncExitStack() as stack:
            running = await stack.enter_async_context(hive(place, is_busy=kind == "busy"))
            browser = await stack.enter_async_context(open_browser(place / "browser"))
            await enter(browser, running)
            for view in VIEWS:
                if wanted.has(view) and (kind == "busy" or not view.of_busy):
                    for theme in wanted.themes:
                        for width in wanted.widths:
                            base = folder / f"{kind}-{theme}-{width}-{view.name}"
                            await picture(browser, running, view, theme, width, base)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The pictures to take."""

    hives: Iterable[str] = HIVES
    themes: Iterable[str] = THEMES
    widths: Iterable[int] = tuple(SIZES)
    views: Iterable[str] = ()
    """The beginnings of their names; none for all."""

    def has(self, view: View) -> bool:
        """Return whether a view is wanted."""
        return not self.views or view.name.startswith(tuple(self.views))


async def enter(browser: Browser, running: Shown) -> None:
    """Log the browser in, and several others."""
    async with aiohttp.ClientSession() as http:
        for name in BROWSERS:
            http.headers["User-Agent"] = name
            await log_in(http, running.url, await running.token())
    await browser.open(f"{running.url}/login#token={await running.token()}")
    await browser.click("#with-link button")
    await browser.sees("#link", "Live")


async def picture(
    browser: Browser, running: Shown, view: View, theme: str, width: int, base: Path
) -> None:
    """Take the pictures of a view."""
    height, is_phone = SIZES[width], width < 500
    await devtools(browser, "Emulation.setTouchEmulationEnabled", enabled=is_phone)
    scheme = [{"name": "prefers-color-scheme", "value": theme}]
    await devtools(browser, "Emulation.setEmulatedMedia", features=scheme)
    await resize(browser, width, height, is_phone=is_phone)
    if view.name == "login":
        await browser.do(lambda d: d.execute_script("localStorage.clear()"))
    await browser.open(running.url + view.path)
    await quiet(browser)
    if view.script:
        await browser.do(lambda d: d.execute_script(view.script))
        await quiet(browser)
    await save(browser, base.with_suffix(".png"))
    highest = min(TALLEST[width], int(await browser.do(lambda d: d.execute_script(HIGHEST))))
    if highest > height:
        await resize(browser, width, highest, is_phone=is_phone)
        await quiet(browser)
        await save(browser, base.with_name(f"{base.name}-whole.png"))


async def quiet(browser: Browser) -> None:
    """Wait until the page shows its data, and nothing changes."""
    await browser.until(lambda d: not d.execute_script(BUSY))
    await browser.do(lambda d: d.execute_async_script(QUIET))


BUSY: Final = "return document.querySelector('main[aria-busy=true]') !== null"


async def resize(browser: Browser, width: int, height: int, *, is_phone: bool) -> None:
    """Set the size of the window."""
    await devtools(
        browser,
        "Emulation.setDeviceMetricsOverride",
        width=width,
        height=height,
        deviceScaleFactor=1,
        mobile=is_phone,
    )


async def save(browser: Browser, path: Path) -> None:
    """Write a picture of the window."""
    shot = await browser.do(lambda d: d.get_screenshot_as_base64())
    await asyncio.to_thread(path.write_bytes, base64.b64decode(shot))
    print(path.name, flush=True)


async def devtools(browser: Browser, command: str, **parameters: object) -> None:
    """Send a command of the DevTools protocol."""
    call = {"cmd": command, "params": parameters}
    await browser.do(lambda d: d.execute("executeCdpCommand", call))


@asynccontextmanager
async def hive(folder: Path, *, is_busy: bool) -> AsyncIterator[Shown]:
    """Run the dashboard over fakes of the services."""
    fakes, agents = FakeHive(), folder / "agents"
    fakes.agents.clear()
    fakes.approvals.deploys.clear()
    if is_busy:
        scene.fill(fakes)
        project_scene.fill(fakes, scene.now_us())
        keep_passkeys(folder)
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(private_bus(stderr=asyncio.subprocess.DEVNULL))

        async def connect() -> Bus:
            bus = await Bus.connect(address, FixedPrincipals())
            stack.push_async_callback(bus.close)
            return bus

        lifecycle = await connect()
        await fakes.serve_lifecycle(lifecycle)
        await fakes.serve_broker(await connect())
        await fakes.serve_approvals(await connect())
        await fakes.serve_ledger(await connect())
        await fakes.serve_projects(await connect())
        bus, listener = await connect(), socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        # The samples of some minutes within some seconds.
        quick = partial(Samples, sample_seconds=STEP_SECONDS / 2)
        with patch.object(root, "Samples", quick):
            dashboard = DashboardService(
                bus,
                listener,
                folder,
                DashboardConfig(terminal=True),
                AgentWeb(partial(web_socket.connect, directory=agents)),
                connect=partial(web_socket.connect_port, directory=agents),
                connect_terminal=partial(web_socket.connect_terminal, directory=agents),
            )
        await bus.own(names.DASHBOARD)
        await dashboard.start()
        run = asyncio.create_task(dashboard.run())
        stack.push_async_callback(dashboard.close)
        stack.push_async_callback(ended, run)
        stack.callback(dashboard.drain)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        shown = Shown(url, await connect())
        if is_busy:
            await stack.enter_async_context(busy(fakes, lifecycle, agents, shown))
        yield shown


async def ended(task: "asyncio.Task[None]") -> None:
    """Cancel a task, and wait for its end."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@asynccontextmanager
async def busy(fakes: FakeHive, lifecycle: Bus, agents: Path, shown: Shown) -> AsyncIterator[None]:
    """Let the agents work, once the dashboard knows them."""
    async with aiohttp.ClientSession() as http:
        session = await log_in(http, shown.url, await shown.token())
        headers = {"Hyperhive-Session": session}
        async with (
            asyncio.timeout(60),
            http.get(f"{shown.url}/api/events", headers=headers) as all_,
        ):
            while True:
                async with http.get(f"{shown.url}/api/state", headers=headers) as answer:
                    tables = (await answer.json())["tables"]
                if len(tables["agents"]) == len(fakes.agents) and tables["messages"]:
                    break
                await all_.content.readuntil(b"\n\n")
    harness = FakeHarness()
    scene.work(harness)
    async with (
        serving(harness, agents / scene.ALICE),
        offered(agents / scene.ALICE, shell),
    ):
        scene.build(lifecycle, fakes)
        scene.crash(fakes)
        for step in range(STEPS):
            scene.use(fakes, step, STEP_SECONDS)
            await asyncio.sleep(STEP_SECONDS)  # the time between two samples
        harness.tell("partial", {"turn": 146, "kind": "text", "text": scene.BODIES[15]})
        yield


async def shell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Show the same screen to each terminal."""
    writer.write(scene.SHELL)
    with suppress(ConnectionError):
        await writer.drain()
        while await reader.read(65536):
            pass
    writer.close()


def keep_passkeys(folder: Path) -> None:
    """Write a file of passkeys, one of them of another host name."""
    made = scene.now_us() / 1e6
    passkeys = [
        Passkey(
            id=f"{number:032x}",
            name=name,
            role=role,
            host=host,
            public_key="00",
            sign_count=0,
            made=made - 86_400 * number,
            used=made - 3_600 * number,
        )
        for number, (name, role, host) in enumerate(
            (
                ("The phone", Role.OPERATOR, "127.0.0.1"),
                (
                    "Laptop of the reviewer with a name that is rather long",
                    Role.REVIEWER,
                    "127.0.0.1",
                ),
                ("YubiKey", Role.OPERATOR, "hive.example.org"),
            ),
            1,
        )
    ]
    rows = ",".join(one.model_dump_json() for one in passkeys)
    (folder / "passkeys.json").write_text(f'{{"version":1,"passkeys":[{rows}]}}')
