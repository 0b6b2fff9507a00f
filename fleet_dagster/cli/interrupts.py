"""Requests to end: Ctrl-C, and what asks a process politely, end a command alike."""

import signal
import types
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the block as Ctrl-C does, even where Ctrl-C was ignored when we were started."""
    ends = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, _interrupt) for number in ends}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, _frame: types.FrameType | None) -> None:
    raise KeyboardInterrupt(number)
