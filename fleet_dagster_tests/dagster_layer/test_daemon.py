import datetime as dt
from pathlib import Path

import pytest

from fleet_dagster.cli.dagster_home import prepare_dagster_home
from fleet_dagster.cli.webserver import webserver
from fleet_dagster.core.windows import DAY, Span
from fleet_dagster.model.tables import FLEET_KPI
from fleet_dagster.storage.clock import now_us
from fleet_dagster_tests.dagster_layer.graphql import (
    FINISHED,
    SCHEDULES,
    Client,
    alive_in_session,
    wait_for,
)
from fleet_dagster_tests.dagster_layer.plants import DERIVED, content, install, land
from fleet_dagster_tests.ports import free_port

PATIENCE_S = 240.0
WINDOWS_A_DAY = 1440


def scheduled_ticks(ui: Client) -> list[dict[str, object]]:
    nodes = ui.ask(SCHEDULES)["repositoriesOrError"]["nodes"]
    schedules = {s["name"]: s for node in nodes for s in node["schedules"]}
    return list(schedules["plant_windows_schedule"]["scheduleState"]["ticks"])


@pytest.mark.services
def test_schedules_and_backfills_fill_the_lake_under_the_real_daemon(tmp_path: Path) -> None:
    """Twelve days ago the fleet began; the schedule looks after the last week, a backfill after five days before it."""
    now = now_us()
    today = now - now % DAY
    first = today - 12 * DAY
    keys = [dt.datetime.fromtimestamp((first + n * DAY) / 1e6, tz=dt.UTC) for n in range(13)]
    days = [key.date().isoformat() for key in keys]
    installation = install(tmp_path, content(start_date=days[0], schedule_minutes=1, interval_s=60))
    land(installation, first, first + 5 * DAY)
    land(installation, today - DAY, now, batch="live")
    with webserver(installation, prepare_dagster_home(installation), free_port()) as server:
        server.wait_until_up()
        ui, leader = Client(server.url), server.process.pid
        backfill = ui.backfill("plant", DERIVED, days[0], days[4])
        wait_for(
            "the schedule computed today",
            lambda: float(ui.figures("plant", "fleet_kpi", days[-1]).get("rows_written", 0)) > 0,
            at_most_s=PATIENCE_S,
        )
        wait_for(
            "the backfill ended",
            lambda: ui.backfill_status(backfill) in FINISHED,
            at_most_s=PATIENCE_S,
        )
        assert ui.backfill_status(backfill) == "COMPLETED_SUCCESS"
        assert {t["status"] for t in scheduled_ticks(ui)} <= {"SUCCESS", "SKIPPED", "STARTED"}
        live = ui.figures("plant", "fleet_kpi", days[-1])
        old = {day: ui.figures("plant", "fleet_kpi", day) for day in days[:5]}
        assert ui.n_materialized("plant", "site_telemetry") >= 5
    assert alive_in_session(leader) == []
    with installation.store() as store:
        rows = store.frame(FLEET_KPI, "plant", Span(first, first + 5 * DAY))
        rows_today = store.frame(FLEET_KPI, "plant", Span(today, today + 2 * DAY))
    assert len(rows) == 5 * WINDOWS_A_DAY
    assert len(rows_today) >= float(live["dagster/row_count"]) > 0
    assert {day: own["dagster/row_count"] for day, own in old.items()} == dict.fromkeys(
        days[:5], WINDOWS_A_DAY
    )
    newest = rows.groupby(rows["window_start"].dt.strftime("%Y-%m-%d"))["fleet_health"].last()
    assert {day: own["fleet_health_newest"] for day, own in old.items()} == newest.to_dict()
