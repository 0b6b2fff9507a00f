"""Pushes, and what becomes of a page when they stop."""

import re
import time

import pytest
from playwright.sync_api import Page, expect

from fleet_dagster_tests.browser.conftest import Opened
from fleet_dagster_tests.browser.plants import add_window
from fleet_dagster_tests.browser.serving import Dashboard, Proxy

pytestmark = pytest.mark.browser
SOON_MS = 5_000
"""Within what a page must say that nobody talks to it any more."""


def _lost(page: Page) -> None:
    expect(page.locator("[data-kind=lost]")).to_contain_text("Disconnected", timeout=SOON_MS)
    assert page.title().startswith("✕ disconnected")
    assert page.evaluate("document.documentElement.dataset.picture") == "old"


def _found_again(page: Page) -> None:
    expect(page.locator("[data-kind=lost]")).to_have_count(0)
    expect(page.locator(".link-state")).to_have_text("live")


def test_a_new_window_is_drawn_as_it_comes(dashboard: Dashboard, open_page: Opened) -> None:
    page = open_page(dashboard.address, dashboard.token(), "#/plant/now")
    cell = page.locator(".map .cell").nth(2)
    expect(cell).to_have_text("H")
    page.evaluate("cell => { window.kept = cell }", cell.element_handle())
    end = add_window(dashboard.home, "plant", faulted=["MX-0003"])
    expect(cell).to_have_text("F")
    expect(cell).to_have_accessible_name(re.compile("MX-0003, faulted, health 0"))
    assert page.evaluate("window.kept === document.querySelectorAll('.map .cell')[2]")
    expect(page.locator("[data-tile=freshness]")).to_contain_text(end[11:16])
    expect(page.locator("[data-tile=sites]")).to_contain_text("1 faulted")


def test_a_killed_server_is_missed_and_its_successor_found_without_a_reload(
    own_dashboard: Dashboard, open_page: Opened
) -> None:
    page = open_page(own_dashboard.address, own_dashboard.token(), "#/big/now", may_lose=True)
    expect(page.locator(".map .cell")).to_have_count(1000)
    page.evaluate("() => { window.isTheSame = true }")
    own_dashboard.kill()
    _lost(page)
    add_window(own_dashboard.home, "big", faulted=["MX-0001"])
    own_dashboard.start()
    _found_again(page)
    expect(page.locator(".map .cell").first).to_have_text("F")
    assert page.evaluate("window.isTheSame")


def test_a_connection_that_hangs_is_noticed_though_no_error_comes(
    dashboard: Dashboard, open_page: Opened
) -> None:
    proxy = Proxy(dashboard.port)
    try:
        page = open_page(proxy.address, dashboard.token(), "#/plant/now", may_lose=True)
        expect(page.locator(".map .cell")).to_have_count(24)
        expect(page.locator(".link-state")).to_have_text("live")
        proxy.hang()
        _lost(page)
        proxy.flow()
        _found_again(page)
    finally:
        proxy.close()


def test_an_expired_token_ends_in_the_login(dashboard: Dashboard, open_page: Opened) -> None:
    token = dashboard.token(lasts_s=8)
    page = open_page(dashboard.address, token, "#/plant/now")
    assert token not in page.url
    began = time.monotonic()
    expect(page.get_by_text("Your token has expired")).to_be_visible(timeout=30_000)
    assert time.monotonic() - began < 20
    expect(page.locator(".map")).to_have_count(0)
    page.get_by_label("Token").fill(dashboard.token())
    page.get_by_role("button", name="Log in").click()
    expect(page.locator(".map .cell")).to_have_count(24)
