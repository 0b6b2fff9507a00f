"""What must not be mistaken for health: old, silent, sampled, missing."""

import re

import pytest
from playwright.sync_api import expect

from fleet_dagster_tests.browser.conftest import Opened
from fleet_dagster_tests.browser.serving import Dashboard

pytestmark = pytest.mark.browser


def test_an_old_picture_is_grey_and_says_its_age(dashboard: Dashboard, open_page: Opened) -> None:
    page = open_page(dashboard.address, dashboard.token(), "#/old/now")
    banner = page.get_by_role("alert").filter(has_text="Old picture")
    expect(banner).to_contain_text("5 h")
    assert page.title() == "⚠ old picture · old"
    assert (
        page.evaluate("getComputedStyle(document.querySelector('main')).filter") == "grayscale(1)"
    )


def test_a_silent_fleet_has_no_health(dashboard: Dashboard, open_page: Opened) -> None:
    page = open_page(dashboard.address, dashboard.token(), "#/silent/now")
    expect(page.get_by_role("alert").filter(has_text="No site reports")).to_be_visible()
    health = page.locator("[data-tile=health]")
    expect(health).to_contain_text("not known")
    expect(health).to_contain_text("no site reports")
    expect(health).not_to_contain_text("0.0")
    assert page.title() == "○ no site reports · silent"
    assert set(page.locator(".map .cell").all_inner_texts()) == {"\N{MULTIPLICATION SIGN}"}


def test_figures_of_a_storm_are_called_estimates_with_their_error(
    dashboard: Dashboard, open_page: Opened
) -> None:
    page = open_page(dashboard.address, dashboard.token(), "#/stormy/now")
    banner = page.locator("[data-kind=storm]")
    expect(banner).to_contain_text("estimated")
    expect(banner).to_contain_text("a test of sirens")
    expect(page.locator("[data-tile=health]")).to_contain_text("±")
    expect(banner.get_by_role("button")).to_be_hidden()


def test_a_fleet_without_windows_says_so(dashboard: Dashboard, open_page: Opened) -> None:
    page = open_page(dashboard.address, dashboard.token(), "#/empty/now")
    expect(page.get_by_text("Nothing has been computed yet")).to_be_visible()
    assert page.title() == "○ nothing computed · empty"
    page.keyboard.press("6")
    expect(page.get_by_text("Newest telemetry")).to_be_visible()


def test_a_fresh_picture_has_no_banner(dashboard: Dashboard, open_page: Opened) -> None:
    page = open_page(dashboard.address, dashboard.token(), "#/plant/now")
    expect(page.locator(".map .cell")).to_have_count(24)
    expect(page.locator(".link-state")).to_have_text("live")
    expect(page.locator(".banner")).to_have_count(0)
    assert re.fullmatch(r"[●◆▲] 0\.\d\d \w+ · plant", page.title())
