"""Real pseudo-terminals, with the command line in them."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

PROGRAM = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from fleet_dagster.cli.main import main
main(sys.argv[1:])
"""
SECONDS = 120
"""A terminal that has not shown what is waited for by then never will."""
ENTERS, LEAVES = "\x1b[?1049h", "\x1b[?1049l"
"""What makes a terminal show its second screen, and the first one again."""
_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_HOME = "\x1b[H"


class Terminal:
    """A terminal in which a command runs."""

    def __init__(
        self, master: int, slave: int, process: subprocess.Popen[bytes], size: tuple[int, int]
    ) -> None:
        self.master, self.slave, self.process = master, slave, process
        self.width, self.height = size
        self.shown = ""

    def settings(self) -> list[object]:
        """Return how the terminal treats keys, as `termios` has it."""
        return list(termios.tcgetattr(self.slave))

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self.master, keys.encode())

    def screen(self) -> str:
        """Return what was drawn last, to its end: a picture that has arrived in part is not shown."""
        drawn = [_CODES.sub("", one).replace("\r", "") for one in self.shown.rsplit(_HOME, 2)]
        if len(drawn) == 1 or self._is_whole(drawn[-1]):
            return drawn[-1]
        return drawn[-2] if len(drawn) > 2 else ""

    def wait_for(self, is_there: Callable[[str], object]) -> str:
        """Read until the screen shows something; returns the screen."""
        end = time.monotonic() + SECONDS
        while not is_there(self.screen()):
            assert time.monotonic() < end, self.screen()
            assert self._read(0.2) or self.process.poll() is None, self.shown
        return self.screen()

    def end(self) -> int:
        """Read to the end; returns the exit code."""
        end = time.monotonic() + SECONDS
        while self.process.poll() is None:
            assert time.monotonic() < end, self.screen()
            self._read(0.2)
        while self._read(0.0):
            pass
        return self.process.returncode

    def _is_whole(self, drawn: str) -> bool:
        lines = drawn.split("\n")
        return len(lines) >= self.height and len(lines[self.height - 1]) >= self.width

    def _read(self, wait_s: float) -> bool:
        ready, _, _ = select.select([self.master], [], [], wait_s)
        if ready:
            self.shown += os.read(self.master, 65536).decode("utf-8", "replace")
        return bool(ready)


@contextmanager
def terminal(
    folder: Path, arguments: Sequence[str], *, width: int, height: int
) -> Iterator[Terminal]:
    """Run a command on the installation of a folder in a terminal of some size."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
    own = {"TERM": "xterm-256color", "PYTHONUTF8": "1"}
    unset = ("COLUMNS", "LINES", "NO_COLOR")
    environment = {k: v for k, v in os.environ.items() if k not in unset} | own
    place = ["--home", str(folder / "home"), "--fleets", str(folder / "fleets")]
    process = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-c", PROGRAM, *place, *arguments],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        env=environment,
    )
    try:
        yield Terminal(master, slave, process, (width, height))
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.wait()
        os.close(slave)
        os.close(master)
