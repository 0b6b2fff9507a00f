"""A browser that fails a test when the page errs or asks anybody else for anything, and a dashboard over real tables."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright

from fleet_dagster_tests.browser.plants import build
from fleet_dagster_tests.browser.serving import Dashboard

WAIT_MS = 15_000
DAGSTER = "http://127.0.0.1:3000"
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_LOST_CONNECTION = "Failed to load resource: net::"
"""What the browser itself says when a server is gone; pages cannot keep it from that."""

Opened = Callable[..., Page]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Start Debian's browser."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.fail("Chromium is missing. Install it: apt-get install chromium (or make chromium)")
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(_FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def places(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a home with every fleet, and the folder of their files."""
    folder = tmp_path_factory.mktemp("browser")
    build(folder / "home", folder / "fleets")
    return folder / "home", folder / "fleets"


@pytest.fixture(scope="session")
def dashboard(places: tuple[Path, Path]) -> Iterator[Dashboard]:
    """Serve it to all tests that leave it as it is."""
    running = Dashboard(*places, dagster_url=DAGSTER).start()
    yield running
    running.stop()


@pytest.fixture
def own_dashboard(places: tuple[Path, Path]) -> Iterator[Dashboard]:
    """Serve it to one test, which may do anything to the server."""
    running = Dashboard(*places).start()
    yield running
    running.stop()


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[Opened]:
    """Return what opens a page, in a browser of its own; every error that any of them makes fails the test."""
    problems: list[str] = []
    with ExitStack() as opened:

        def opens(
            address: str,
            token: str,
            place: str = "",
            *,
            width: int = 1280,
            scheme: str = "light",
            may_lose: bool = False,
        ) -> Page:
            context = chromium.new_context(
                viewport={"width": width, "height": 900},
                color_scheme="dark" if scheme == "dark" else "light",
            )
            opened.callback(context.close)
            context.set_default_timeout(WAIT_MS)
            page = context.new_page()
            _guard(page, problems, may_lose=may_lose)
            page.goto(f"{address}#token={token}")
            page.get_by_role("navigation").wait_for()
            if place:
                page.evaluate("place => { location.hash = place }", place)
            return page

        yield opens
    assert problems == []


def _guard(page: Page, problems: list[str], *, may_lose: bool) -> None:
    """Note what must not happen on a page."""

    def asked(request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in ("data", "blob") and address.hostname != "127.0.0.1":
            problems.append(f"asked {request.url}")

    def said(kind: str, text: str) -> None:
        is_loss = may_lose and text.startswith(_LOST_CONNECTION)
        if kind in ("error", "warning") and not is_loss:
            problems.append(f"console: {text}")

    page.on("request", asked)
    page.on("console", lambda message: said(message.type, message.text))
    page.on("pageerror", lambda error: problems.append(f"error: {error}"))
