"""What the hive is told when an agent loses its login, has one again, or is out of date."""

import time
from typing import Final

from services.lifecycle.agents.agent import Agent, TurnState
from services.lifecycle.notices.notice import Notice, notices
from wire import names

NEEDS_LOGIN: Final = "needs-login"
LOGGED_IN: Final = "logged-in"
NEEDS_UPDATE: Final = "needs-update"


def login_notices(agent: Agent, before: TurnState) -> list[Notice]:
    """What to tell after a report of `agent`, which was in the state `before`.

    The manager is told, and the operator of a missing login: nobody else can log it in. An agent
    that claims one and the other in turns is heard once in an hour.
    """
    needs = agent.turn_state is TurnState.NEEDS_LOGIN
    if needs is (before is TurnState.NEEDS_LOGIN) or agent.turn_state is TurnState.OFFLINE:
        return []
    kind = NEEDS_LOGIN if needs else LOGGED_IN
    hour = int(time.time() // 3600)
    key = f"{kind}:{agent.name}:{agent.unit_status.invocation}:{hour}"
    text = (
        f"{agent.name} has no valid login; its messages wait. The operator logs it in with "
        f"`hivectl login {agent.name}`."
        if needs
        else f"{agent.name} is logged in and works again."
    )
    recipients = [names.MANAGER] if agent.name != names.MANAGER else []
    recipients += [names.OPERATOR] if needs else []
    return notices(kind, text, key, recipients)


def update_notice(agent: Agent, version: str, *, auto: bool) -> Notice:
    """That the container of `agent` was made by another version of Hyperhive than `version`.

    `auto`: whether it is updated without anybody asking for it.
    """
    what = (
        "it is restarted in a current one as soon as it is at rest."
        if auto
        else f"the tool update, or `hivectl update {agent.name}`, restarts it in a current one."
    )
    text = f"{agent.name} runs in a container of another version of Hyperhive; {what}"
    return Notice(NEEDS_UPDATE, text, f"{NEEDS_UPDATE}:{agent.name}:{version}")
