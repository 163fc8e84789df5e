"""The agreements of hivectl with the services and the harness, of which it imports nothing."""

from harness import execute as container
from hivectl.arguments.kinds import KINDS
from hivectl.host import execute as operator
from services.approvals.clients import KIND as APPROVAL_RESOLVED
from services.broker.messages.dead_letter_notices import KIND as DEAD_LETTER
from services.broker.messages.message import MESSAGE
from services.broker.questions import texts
from services.broker.reminders.reminder import KIND as REMINDER
from services.ledger.budgets import notices as budgets
from services.ledger.egress.hosts import DECIDED
from services.lifecycle.jobs.rolling_update import UPDATE_FAILED
from services.lifecycle.jobs.steps import REBUILT, SPAWNED
from services.lifecycle.notices import crash, login
from services.lifecycle.watch import auto_sleep, disk, provider_limits, shared_limits
from wire.forge import KIND as FORGE


def test_all_kinds_of_messages_are_known() -> None:
    assert set(KINDS) == {
        *(MESSAGE, APPROVAL_RESOLVED, DEAD_LETTER, REMINDER, DECIDED, UPDATE_FAILED),
        *(texts.ASKED, texts.ANSWERED, texts.PERMISSION_ANSWERED, REBUILT, SPAWNED),
        *(budgets.WARNING, budgets.EXHAUSTED, crash.KIND, disk.KIND, shared_limits.KIND),
        *(login.NEEDS_LOGIN, login.LOGGED_IN, login.NEEDS_UPDATE, auto_sleep.WAKE_FAILED),
        *(provider_limits.PROVIDER_LIMIT, FORGE),
    }


def test_a_container_and_hivectl_speak_the_same_frames() -> None:
    for name in ("RUN", "INPUT", "SIZE", "SIGNAL", "OUTPUT", "ERRORS", "END", "MAX_FRAME"):
        assert getattr(container, name) == getattr(operator, name), name
    assert (container.HEAD.format, container.CODE.format) == (
        operator.HEAD.format,
        operator.CODE.format,
    )
