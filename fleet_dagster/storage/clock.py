"""The wall clock, for what is history and not a row: leases, log entries, receipts."""

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Tells the instant [us since 1970, UTC]; a simulated day brings its own."""


def now_us() -> int:
    """Return the current instant, in microseconds since 1970, UTC."""
    return time.time_ns() // 1000
