"""timerfd_create(2) on CLOCK_REALTIME, by ctypes: Python has it only since 3.13."""

import ctypes
import os
import sys
import time
from typing import Final

if sys.version_info >= (3, 13):

    def create() -> int:
        """Return the non-blocking file descriptor of a new timer, which is not set."""
        return os.timerfd_create(time.CLOCK_REALTIME, flags=os.TFD_NONBLOCK | os.TFD_CLOEXEC)

    def set_time(fd: int, at: int) -> None:
        """Make `fd` readable at `at`, in nanoseconds since 1970, 1 or more.

        Raises:
            OSError: ECANCELED, as reading raises it, when the clock was set since the last call;
                the timer is set nevertheless.
        """
        flags = os.TFD_TIMER_ABSTIME | os.TFD_TIMER_CANCEL_ON_SET
        os.timerfd_settime_ns(fd, flags=flags, initial=at)

else:
    _ABSTIME: Final = 1
    _CANCEL_ON_SET: Final = 2
    _libc: Final = ctypes.CDLL(None, use_errno=True)

    class _Timespec(ctypes.Structure):
        _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))

    class _Itimerspec(ctypes.Structure):
        _fields_ = (("interval", _Timespec), ("value", _Timespec))

    def create() -> int:
        """Return the non-blocking file descriptor of a new timer, which is not set."""
        # TFD_NONBLOCK and TFD_CLOEXEC are these flags of open(2).
        return _checked(_libc.timerfd_create(time.CLOCK_REALTIME, os.O_NONBLOCK | os.O_CLOEXEC))

    def set_time(fd: int, at: int) -> None:
        """Make `fd` readable at `at`, in nanoseconds since 1970, 1 or more.

        Raises:
            OSError: ECANCELED, as reading raises it, when the clock was set since the last call;
                the timer is set nevertheless.
        """
        value = _Timespec(*divmod(at, 10**9))
        spec = _Itimerspec(_Timespec(0, 0), value)
        flags = _ABSTIME | _CANCEL_ON_SET
        _checked(_libc.timerfd_settime(fd, flags, ctypes.byref(spec), None))

    def _checked(result: int) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result
