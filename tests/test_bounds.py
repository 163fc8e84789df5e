"""Bounds that two rooms must agree on, because they may not import each other."""

from services.broker.questions import questions as taken
from services.config import MAX_BODY_BYTES, BrokerConfig
from services.endpoint.tools import arguments as agent
from services.endpoint.tools import questions as asked
from wire.connection import MAX_RECEIVED


def test_the_tools_and_the_broker_have_the_same_bounds() -> None:
    assert (asked.MAX_CHOICES, asked.MAX_CHOICE) == (taken.MAX_CHOICES, taken.MAX_CHOICE)
    assert asked.MAX_TTL == taken.MAX_TTL
    assert BrokerConfig().max_body_bytes <= agent.MAX_TEXT


def test_wire_receives_the_largest_message_that_the_settings_allow() -> None:
    assert MAX_RECEIVED >= MAX_BODY_BYTES + 64 * 1024
