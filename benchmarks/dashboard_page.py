"""P7: how long a push takes to be drawn, by the page in Chromium, alone and beside 200 other listeners."""

import asyncio
import contextlib
import datetime as dt
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median, quantiles

from playwright.sync_api import Browser, sync_playwright

from benchmarks import dashboard
from benchmarks.dashboard import MEASURED_S, MOST_MS, SETTLED_S, Place
from benchmarks.report import Figure, Result

N_OTHERS = (0, 200)
MOST_WITH = dict(zip(N_OTHERS, MOST_MS.values(), strict=True))
_FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
_NOTE = """
window.drawn = [];
addEventListener("fleet:drawn", ({ detail }) => {
  document.body.offsetHeight;  // what is drawn is laid out, too
  window.drawn.push([detail.takenAt, performance.timeOrigin + performance.now()]);
});
"""


def p7() -> Result:
    """Measure the server's half, then the whole way to the pixel."""
    half = dashboard.p7()
    with tempfile.TemporaryDirectory() as folder, _chromium() as browser:
        dashboard.prepare(Path(folder))
        figures = []
        for n_others in N_OTHERS:
            with dashboard.serving(Path(folder)) as place, _listening(place, n_others):
                figures.append(_figure(n_others, _drawn_ms(browser, place)))
    return replace(
        half,
        title="dashboard, push → drawn",
        method=f"{half.method} Then the page itself, in Debian's Chromium (headless, no GPU), view “now”: until the DOM of 1,000 "
        "cells is patched and laid out.",
        figures=(*half.figures, *figures),
    )


@contextmanager
def _chromium() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        msg = "P7 needs Chromium. Install it: apt-get install chromium (or make chromium)"
        raise RuntimeError(msg)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(_FLAGS))
        yield browser
        browser.close()


@contextmanager
def _listening(place: Place, n: int) -> Iterator[None]:
    """Let others listen, in a process of their own."""
    if n == 0:
        yield
        return
    command = [sys.executable, "-m", "benchmarks.dashboard_page", str(place.port), place.token]
    process = subprocess.Popen([*command, str(n)])  # noqa: S603 - our own program
    try:
        time.sleep(SETTLED_S)
        yield
    finally:
        process.terminate()
        process.wait()


def _drawn_ms(browser: Browser, place: Place) -> list[float]:
    """Return how long each update took from its publication until it was drawn [ms]."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.add_init_script(_NOTE)
    page.goto(f"http://127.0.0.1:{place.port}/#token={place.token}")
    page.locator(".map .cell").nth(999).wait_for()
    page.wait_for_timeout(SETTLED_S * 1000)
    page.evaluate("() => { window.drawn.length = 0 }")
    page.wait_for_timeout(MEASURED_S * 1000)
    found = page.evaluate("() => window.drawn")
    page.close()
    return [drawn - dt.datetime.fromisoformat(taken).timestamp() * 1000 for taken, drawn in found]


def _figure(n_others: int, delays_ms: Sequence[float]) -> Figure:
    p95 = quantiles(delays_ms, n=20)[-1]
    told = f"p95 {p95:.1f} ms, median {median(delays_ms):.1f} ms, most {max(delays_ms):.1f} ms"
    return Figure(
        f"push → drawn, {f'beside {n_others} listeners' if n_others else 'alone'}",
        f"{told}; {len(delays_ms) / MEASURED_S:.1f} drawings/s",
        "-",
        f"{p95 / MOST_WITH[n_others]:.2f}",
        f"≤ {MOST_WITH[n_others]:.0f} ms",
        p95 <= MOST_WITH[n_others],
    )


def _listen(place: Place, n: int) -> None:
    """Keep listeners open until this process is ended."""

    async def everybody() -> None:
        await asyncio.gather(*(dashboard.received(place, 1) for _ in range(n)))

    with contextlib.suppress(KeyboardInterrupt):
        while True:
            asyncio.run(everybody())


if __name__ == "__main__":
    _listen(Place(int(sys.argv[1]), sys.argv[2]), int(sys.argv[3]))
