"""What every test may use: a private bus (see wire.fixtures)."""

pytest_plugins = ["wire.fixtures"]
