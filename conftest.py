"""What all tests share."""

import signal

pytest_plugins = ["wire.fixtures"]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what runs in its background so, and everything started from here would not
    # hear a Ctrl-C either.
    signal.signal(signal.SIGINT, signal.default_int_handler)
