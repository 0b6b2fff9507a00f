"""What operators do on the page, and what viewers may not."""

import pytest
from playwright.sync_api import expect

from fleet_dagster.storage.operator_actions import actions_of
from fleet_dagster.storage.store import Store
from fleet_dagster_tests.browser.conftest import Opened
from fleet_dagster_tests.browser.serving import Dashboard

pytestmark = pytest.mark.browser


def test_an_operator_acknowledges_an_incident_and_a_viewer_sees_it(
    dashboard: Dashboard, open_page: Opened
) -> None:
    viewer = open_page(dashboard.address, dashboard.token(), "#/plant/incidents")
    expect(viewer.get_by_text("Nobody has acknowledged it.")).to_be_visible()
    expect(viewer.get_by_role("button", name="Acknowledge…")).to_have_count(0)
    expect(viewer.get_by_text("needs an operator's token")).to_be_visible()
    page = open_page(dashboard.address, dashboard.token("operator"), "#/plant/incidents")
    page.get_by_role("button", name="Acknowledge…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("A fault").check()
    dialog.get_by_label("Site where it began").select_option("MX-0002")
    dialog.get_by_label("Note").fill("<b>pump</b> 7 is out")
    dialog.get_by_role("button", name="Acknowledge").click()
    expect(dialog).to_have_count(0)
    for one in (page, viewer):
        expect(one.get_by_text("“<b>pump</b> 7 is out”")).to_be_visible()
        expect(one.get_by_text("acknowledged it")).to_contain_text("a fault")
    page.keyboard.press("6")
    expect(page.get_by_text("acknowledged incident incident-one")).to_be_visible()


def test_an_operator_ends_a_storm(dashboard: Dashboard, open_page: Opened) -> None:
    page = open_page(dashboard.address, dashboard.token("operator"), "#/stormy/now")
    page.get_by_role("button", name="End the storm…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_have_count(0)
    page.get_by_role("button", name="End the storm…").click()
    dialog.get_by_role("button", name="End the storm").click()
    expect(dialog).to_have_count(0)
    expect(page.get_by_role("button", name="End the storm…")).to_be_hidden()
    with Store.at(dashboard.home) as store:
        (done,) = actions_of(store.control, "stormy")
    assert (done.action, done.done_by) == ("end_storm", "somebody")
