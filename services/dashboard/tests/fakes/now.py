"""The time of the fakes."""

NOW = 1_780_000_000_000_000
