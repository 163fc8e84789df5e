"""Messages about an agent that loses its login, is logged in again, or is out of date."""

import time
from typing import Final

from services.lifecycle.agents.agent import Agent
from services.lifecycle.notices.notice import Notice, notices
from wire import credentials, names

NEEDS_LOGIN: Final = "needs-login"
LOGGED_IN: Final = "logged-in"
NEEDS_UPDATE: Final = "needs-update"


def login_notices(agent: Agent, missed: bool) -> list[Notice]:
    """Return the messages about a report that changed the login of `agent`.

    They go to the manager, and to the operator when a login is missing: only the operator can log
    the agent in. Each is sent at most once an hour, also when the container restarts, so an agent
    cannot flood its readers by reporting both states in turn, or by crashing after each report.

    Args:
        agent: the agent after the report.
        missed: whether its login was missing before the report.
    """
    needs = agent.login_missing
    if needs is missed:
        return []
    kind = NEEDS_LOGIN if needs else LOGGED_IN
    hour = int(time.time() // 3600)
    key = f"{kind}:{agent.name}:{hour}"
    text = (
        f"{agent.name} has no valid login, so its messages wait. For the operator: "
        f"{credentials.remedy(agent.name, agent.credential)}."
        if needs
        else f"{agent.name} has credentials again, and takes its messages."
    )
    recipients = [names.MANAGER] if agent.name != names.MANAGER else []
    recipients += [names.OPERATOR] if needs else []
    return notices(kind, text, key, recipients)


def update_notice(agent: Agent, version: str, *, auto: bool) -> Notice:
    """Return the message that another version of Hyperhive created the container of `agent`.

    Args:
        agent: the stale agent.
        version: the current version.
        auto: whether stale agents are updated automatically.
    """
    what = (
        "It is updated and restarted when it is idle."
        if auto
        else f"The tool update, or `hivectl update {agent.name}`, updates and restarts it."
    )
    text = f"{agent.name} runs in a container of another version of Hyperhive. {what}"
    return Notice(NEEDS_UPDATE, text, f"{NEEDS_UPDATE}:{agent.name}:{version}")
