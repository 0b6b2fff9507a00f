"""Single keys from a terminal, read without waiting for Enter; the terminal is left as it was found."""

import os
import select
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager

from fleet_dagster.cli.interrupts import interruptible

SOME_BYTES = 1024


class Keys:
    """Reads the keys that were pressed; none where standard input is no terminal."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def pressed(self, wait_s: float) -> str:
        """Wait for keys, no longer than so many seconds; returns them, and an end-of-file as a `q`: nobody is there any more."""
        if self._descriptor is None:
            select.select([], [], [], wait_s)
            return ""
        ready, _, _ = select.select([self._descriptor], [], [], wait_s)
        if not ready:
            return ""
        return os.read(self._descriptor, SOME_BYTES).decode("utf-8", "replace") or "q"


@contextmanager
def terminal_keys() -> Iterator[Keys]:
    """Read keys one by one while the block runs. A request to end it ends it as Ctrl-C does."""
    with interruptible():
        if not sys.stdin.isatty():
            yield Keys(None)
            return
        descriptor = sys.stdin.fileno()
        settings = termios.tcgetattr(descriptor)
        try:
            tty.setcbreak(descriptor)
            yield Keys(descriptor)
        finally:
            termios.tcsetattr(descriptor, termios.TCSADRAIN, settings)
