"""The wall clock, for what is history and not a row: leases, log entries, receipts."""

import time


def now_us() -> int:
    """Return the current instant, in microseconds since 1970, UTC."""
    return time.time_ns() // 1000
