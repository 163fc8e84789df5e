"""The browsers that want notifications: over HTTP, and over the bus for notify."""

from typing import Any

import pytest

from services.dashboard.tests.conftest import Page
from wire.clients.dashboard import DashboardClient
from wire.errors import AccessDenied
from wire.fixtures import Connect
from wire.principal import Kind, Principal
from wire.records.dashboard import PushTarget
from wire.testing import FixedPrincipals

KEYS = {"p256dh": "BA" + "A" * 85, "auth": "A" * 22}
AT = "https://updates.push.services.mozilla.com/wpush/v2/secret"


def subscription(**values: Any) -> dict[str, Any]:
    return {"endpoint": AT, **KEYS, "events": ["message", "question"], **values}


async def test_a_browser_is_a_target_until_its_session_ends(
    page: Page, connect: Connect, principals: FixedPrincipals
) -> None:
    await page.log_in()
    first = dict(page.http.headers)
    assert (await page.post("/api/push", subscription()))[0] == 200
    _, state = await page.get("/api/push")
    assert (state["events"], len(state["key"])) == (["question", "message"], 87)
    for _ in range(2):  # each page says so when it opens
        assert (await page.post("/api/push", subscription(events=["crash"])))[0] == 200
    assert (await page.get("/api/push"))[1]["events"] == ["crash"]
    await page.log_in()
    other = subscription(endpoint="https://abc.notify.windows.com/w/?token=x")
    assert (await page.post("/api/push", other))[0] == 200

    with pytest.raises(AccessDenied):
        await DashboardClient(page.bus).list_push_targets()
    bus = await connect()
    principals.known[bus.unique_name] = Principal(Kind.SERVICE, "notify")
    notify = DashboardClient(bus)
    assert len(await notify.push_key()) == 43
    one, two = await notify.list_push_targets()
    assert (one.id, two.id) == (1, 2), "the same browser is the same target"
    assert one == PushTarget(one.id, AT, KEYS["p256dh"], KEYS["auth"], ["crash"])
    assert (two.endpoint, two.events) == (other["endpoint"], ["question", "message"])
    await notify.forget_push_target(two.id)
    assert await notify.list_push_targets() == [one]
    page.http.headers.update(first)
    assert (await page.post("/logout"))[0] == 200
    assert await notify.list_push_targets() == []


@pytest.mark.parametrize(
    "values",
    [
        {"endpoint": "http://updates.push.services.mozilla.com/x"},
        {"endpoint": "https://updates.push.services.mozilla.com:8443/x"},
        {"endpoint": "https://updates.push.services.mozilla.com@169.254.169.254/x"},
        {"endpoint": "https://169.254.169.254/latest"},
        {"endpoint": "https://evil.example/x"},
        {"endpoint": "https://evilnotify.windows.com/x"},
        {"endpoint": "https://["},
        {"endpoint": "https://169.254.169.254\\@updates.push.services.mozilla.com/x"},
        {"endpoint": "https://me@updates.push.services.mozilla.com/x"},
        {"endpoint": "https://updates.push.services.mozilla.com/x y"},
        {"p256dh": "AAAA"},
        {"auth": "!"},
        {"events": ["everything"]},
    ],
)
async def test_nothing_is_sent_elsewhere(page: Page, values: dict[str, Any]) -> None:
    await page.log_in()
    status, answer = await page.post("/api/push", subscription(**values))
    assert (status, answer["name"]) == (400, "org.hyperhive.Error.InvalidArgument")
    assert (await page.get("/api/push"))[1]["events"] is None
