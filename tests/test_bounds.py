"""Bounds that two rooms must agree on, because they may not import each other."""

import json

from harness.events.events import MAX_DATA, MAX_PAGE, MAX_PAGE_VALUES
from harness.events.events import MAX_VALUES as MAX_EVENT_VALUES
from harness.events.store import MAX_PARTIAL
from services.broker.questions import questions as taken
from services.config import MAX_BODY_BYTES, BrokerConfig
from services.endpoint.tools import arguments as agent
from services.endpoint.tools import questions as asked
from wire.agent_web.client import MAX_VALUES, PAGE
from wire.agent_web.http import MAX_LINE
from wire.connection import MAX_RECEIVED


def test_the_tools_and_the_broker_have_the_same_bounds() -> None:
    assert (asked.MAX_CHOICES, asked.MAX_CHOICE) == (taken.MAX_CHOICES, taken.MAX_CHOICE)
    assert asked.MAX_TTL == taken.MAX_TTL
    assert BrokerConfig().max_body_bytes <= agent.MAX_TEXT


def test_wire_receives_the_largest_message_that_the_settings_allow() -> None:
    assert MAX_RECEIVED >= MAX_BODY_BYTES + 64 * 1024


def test_the_host_takes_each_event_and_text_of_a_harness() -> None:
    around = 4 * 1024
    assert MAX_DATA + around <= MAX_LINE
    escaped = len(json.dumps("\N{GRINNING FACE}")) - 2
    assert escaped * MAX_PARTIAL + around <= MAX_LINE


def test_the_host_takes_each_page_of_a_harness() -> None:
    of_each_event = 8  # its own keys
    assert MAX_EVENT_VALUES <= MAX_PAGE_VALUES
    assert MAX_PAGE_VALUES + of_each_event * MAX_PAGE <= MAX_VALUES
    assert PAGE <= MAX_PAGE
