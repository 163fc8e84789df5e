"""The operator of a fake hive, whom the permissions of an agent ask."""

import asyncio
from typing import Any

from claude_agent_sdk import PermissionUpdate, ToolPermissionContext
from claude_agent_sdk.types import PermissionRuleValue

from harness.claude.permissions import Permissions
from harness.config import Config
from harness.hive_client import ConnectionLostError, HiveClient, Message
from harness.tests.hive import Hive

PUSH = {"command": "git push origin main"}


class Operator:
    """Permissions with a connection to the fake hive, and a loop that receives the answers."""

    def __init__(self, hive: Hive, client: HiveClient, **config: Any) -> None:
        self.hive = hive
        self.client = client
        self.notes: list[dict[str, Any]] = []
        self.waits: list[str | None] = []
        self.untaken: list[Message] = []
        self.permissions = Permissions(Config("bob", **config), client, self.note, 570.0)
        self.permissions.on_waiting = self.wait
        self.changed = asyncio.Event()

    def wait(self, reason: str | None) -> None:
        self.waits.append(reason)
        self.changed.set()

    async def waiting_for(self, reason: str) -> None:
        while self.waits[-1:] != [reason]:
            self.changed.clear()
            await self.changed.wait()

    def note(self, kind: str, **data: Any) -> None:
        self.notes.append({"type": kind, **data})

    def decide(
        self, tool: str, given: dict[str, Any], *suggestions: PermissionUpdate, reason: str = ""
    ) -> "asyncio.Task[Any]":
        context = ToolPermissionContext(
            suggestions=list(suggestions), decision_reason=reason or None
        )
        return asyncio.create_task(self.permissions.decide(tool, given, context))

    async def asked(self, count: int) -> list[dict[str, Any]]:
        await self.hive.until(lambda: len(self.hive.questions) >= count)
        return self.hive.questions

    async def receive(self) -> None:
        while True:
            await self.client.connected()
            try:
                messages = await self.client.receive(10)
            except ConnectionLostError:
                continue
            for message in messages:
                if not await self.permissions.take(message):
                    self.untaken.append(message)
                    await self.hive.notify()


def suggested(tool: str, content: str | None = None) -> PermissionUpdate:
    rules = [PermissionRuleValue(tool, content)]
    return PermissionUpdate("addRules", rules, behavior="allow", destination="localSettings")
