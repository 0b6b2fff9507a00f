import json
import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from fleet_dagster_tests.browser.conftest import Opened
from fleet_dagster_tests.browser.serving import Dashboard

pytestmark = pytest.mark.browser
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
PLACES = {
    "now": "#/plant/now",
    "regions": "#/plant/regions",
    "one region": "#/plant/regions/region-01",
    "ranking": "#/plant/ranking",
    "no site": "#/plant/site",
    "site": "#/plant/site/MX-0001",
    "incidents": "#/plant/incidents",
    "pipeline": "#/plant/pipeline",
}
STATES = {
    "old": "#/old/now",
    "silent": "#/silent/now",
    "stormy": "#/stormy/now",
    "empty": "#/empty/now",
}


def _is_settled(page: Page) -> None:
    """Wait until the view is drawn, and every chart with it."""
    expect(page.get_by_text("Waiting for the first picture")).to_have_count(0)
    page.wait_for_function(
        "() => [...document.querySelectorAll('figure.chart')].every(f => !f.offsetParent || f.querySelector('figcaption').textContent)"
    )


def test_a_thousand_sites_are_painted_each_with_its_name(
    dashboard: Dashboard, open_page: Opened
) -> None:
    page = open_page(dashboard.address, dashboard.token(), "#/big/now")
    expect(page.locator(".map .cell")).to_have_count(1000)
    assert page.locator(".map .cell:not([aria-label])").count() == 0
    assert page.locator(".map .cell[tabindex='0']").count() == 1
    expect(page.locator(".map-region")).to_have_count(20)
    expect(page.get_by_role("link", name="MX-0500, low health, health 0.")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_every_view_passes_axe_and_fits(
    dashboard: Dashboard, open_page: Opened, scheme: str, width: int
) -> None:
    page = open_page(dashboard.address, dashboard.token("operator"), width=width, scheme=scheme)
    assert page.evaluate("document.documentElement.dataset.theme") == scheme
    found: dict[str, list[str]] = {}
    for name, place in {**PLACES, **STATES}.items():
        page.evaluate("place => { location.hash = place }", place)
        _is_settled(page)
        broken = _violations(page)
        if not page.evaluate("document.documentElement.scrollWidth <= innerWidth"):
            broken.append("wider than the screen")
        if broken:
            found[name] = broken
    assert found == {}


def test_dialogs_help_and_login_pass_axe(dashboard: Dashboard, open_page: Opened) -> None:
    page = open_page(dashboard.address, dashboard.token("operator"), "#/plant/incidents")
    page.get_by_role("button", name=re.compile("Acknowledge…|Say more…")).click()
    assert _violations(page) == []
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert _violations(page) == []
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Log out").click()
    page.get_by_label("Token").wait_for()
    assert _violations(page) == []


def test_from_the_fleet_to_a_region_to_a_site_and_back(
    dashboard: Dashboard, open_page: Opened
) -> None:
    page = open_page(dashboard.address, dashboard.token(), "#/plant/now")
    page.get_by_role("link", name="region-02", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("region-02")
    sites = page.get_by_role("region", name="Sites of region region-02")
    expect(sites.locator("tbody tr")).to_have_count(6)
    sites.locator("tbody a").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("MX-00")
    expect(page.locator(".spark canvas")).to_have_count(6)
    expect(page.locator(".spark figcaption").first).to_contain_text(" to ")
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_contain_text("region-02")


def test_the_ranking_is_sorted_filtered_and_exported_as_shown(
    dashboard: Dashboard, open_page: Opened
) -> None:
    page = open_page(dashboard.address, dashboard.token(), "#/big/ranking")
    rows = page.get_by_role("region", name="Ranking of sites").locator("tbody tr")
    expect(rows).to_have_count(100)
    page.get_by_role("button", name="Show 100 more").click()
    expect(rows).to_have_count(200)
    page.get_by_role("button", name="Site", exact=True).click()
    expect(rows.first).to_contain_text("MX-0001")
    page.get_by_role("button", name="Site", exact=True).click()
    expect(rows.first).to_contain_text("MX-1000")
    page.get_by_role("combobox", name="Region", exact=True).select_option("region-07")
    expect(page.get_by_text("50 of 1,000 sites")).to_be_visible()
    page.get_by_label("Name or region holds").fill("MX-030")
    expect(rows).to_have_count(9)
    page.get_by_role("combobox", name="Status").select_option("faulted")
    expect(rows).to_have_count(0)
    page.get_by_role("combobox", name="Status").select_option("online")
    with page.expect_download() as download:
        page.get_by_role("link", name="Ranking as filtered as CSV").click()
    lines = download.value.path().read_text(encoding="utf-8").splitlines()
    shown = [text.split()[0] for text in rows.locator("th").all_inner_texts()]
    assert [line.split(",")[0] for line in lines[1:]] == shown
    page.reload()
    expect(rows).to_have_count(9)


def test_keys_change_views_search_move_and_switch_the_theme(
    dashboard: Dashboard, open_page: Opened
) -> None:
    page = open_page(dashboard.address, dashboard.token(), "#/plant/now")
    cell = page.locator(".map .cell").first
    cell.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".map .cell").nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("MX-0002")
    page.keyboard.press("3")
    rows = page.get_by_role("region", name="Ranking of sites").locator("tbody tr")
    rows.first.locator("a").first.focus()
    page.keyboard.press("ArrowDown")
    expect(rows.nth(1).locator("a").first).to_be_focused()
    page.keyboard.press("t")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.keyboard.press("/")
    page.keyboard.type("0017")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("MX-0017")
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    expect(page.get_by_role("heading", level=1)).to_contain_text("MX-0017")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_a_span_of_a_chart_is_chosen_by_dragging_and_kept_in_the_address(
    dashboard: Dashboard, open_page: Opened
) -> None:
    page = open_page(dashboard.address, dashboard.token(), "#/plant/site/MX-0001")
    page.get_by_role("button", name="1 h", exact=True).click()
    plot = page.locator("figure.chart .u-over").first
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.6, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.95, y, steps=5)
    page.mouse.up()
    expect(page.get_by_role("button", name="1 h", exact=True)).to_have_attribute(
        "aria-pressed", "false"
    )
    assert "from=" in page.url
    page.get_by_role("button", name="6 h", exact=True).click()
    assert "last=6+h" in page.url


def test_numbers_link_to_the_partition_that_holds_them(
    dashboard: Dashboard, open_page: Opened
) -> None:
    page = open_page(dashboard.address, dashboard.token(), "#/plant/now")
    link = page.get_by_role("link", name="Health: fleet_kpi, partition")
    expect(link).to_have_attribute("rel", "noopener")
    expect(link).to_have_attribute("target", "_blank")
    address = link.get_attribute("href") or ""
    assert address.startswith(
        "http://127.0.0.1:3000/assets/plant/fleet_kpi?view=partitions&partition=20"
    )


def test_a_fleet_is_chosen_and_unknown_places_say_so(
    dashboard: Dashboard, open_page: Opened
) -> None:
    page = open_page(dashboard.address, dashboard.token(), "#/plant/now")
    page.get_by_label("Fleet", exact=True).select_option("stormy")
    expect(page.locator(".map .cell")).to_have_count(40)
    page.evaluate("() => { location.hash = '#/plant/site/NOBODY' }")
    expect(page.get_by_text("There is no site NOBODY")).to_be_visible()
    page.evaluate("() => { location.hash = '#/nowhere/now' }")
    expect(page.get_by_text("There is no fleet nowhere")).to_be_visible()


def _violations(page: Page) -> list[str]:
    """Return what axe finds, with the elements."""
    found = Axe().run(page, options={**RULES, "resultTypes": ["violations"]}).response
    return [
        f"{one['id']}: {json.dumps([node['target'] for node in one['nodes'][:3]])} {one['nodes'][0]['failureSummary'][:300]}"
        for one in found["violations"]
    ]
