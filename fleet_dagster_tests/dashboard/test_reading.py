import csv
import io
from typing import Any

import numpy as np
import pytest

from fleet_dagster.core.windows import HOUR, MINUTE, SECOND, Span
from fleet_dagster.dashboard.courses import MOST_POINTS, Grid, Series
from fleet_dagster.dashboard.csv_export import written
from fleet_dagster.model.tables import BASELINE, FLEET_KPI, REGIONAL_HEALTH, SITE_KPI, SITE_RANKING
from fleet_dagster.storage.store import Store
from fleet_dagster_tests import alert_rows as rows
from fleet_dagster_tests.dashboard.conftest import COMPUTED, PLANT
from fleet_dagster_tests.dashboard.serving import Served, eventually, served

API = "/api/fleets/plant"
SITE = PLANT.region_mappings[0].site_id
REGION = PLANT.region_mappings[0].region_id
LAST = Span(COMPUTED.end - 30 * MINUTE, COMPUTED.end)


def _lines(running: Served, path: str) -> list[dict[str, str]]:
    eventually(lambda: running.get(f"{API}/snapshot").status == 200)
    answer = running.get(f"{API}/export/{path}")
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"].startswith("text/csv")
    assert "attachment" in answer.headers["content-disposition"]
    return list(csv.DictReader(io.StringIO(answer.body.decode())))


def _values(course: Any, name: str) -> list[float | None]:  # Any: JSON
    (found,) = [s for s in course["series"] if s["name"] == name]
    return list(found["values"])


def test_the_course_of_a_fleet_is_that_of_its_table(dashboard: Served) -> None:
    course = dashboard.get(f"{API}/history").json
    assert (course["to"] - course["from"], course["thinned"]) == (6 * 3600, False)
    kept = dashboard.store.frame(FLEET_KPI, "plant", Span(COMPUTED.end - 6 * HOUR, COMPUTED.end))
    assert course["t"] == [s.timestamp() for s in kept["window_start"]]
    assert _values(course, "health") == pytest.approx(kept["fleet_health"].tolist(), abs=1e-6)
    parts = [_values(course, name) for name in ("kpi", "uptime", "fault")]
    assert np.sum(np.array(parts, float), axis=0) == pytest.approx(
        kept["fleet_health"].tolist(), abs=3e-6
    )


def test_the_course_of_a_region_and_of_a_site_are_their_own(dashboard: Served) -> None:
    region = dashboard.get(f"{API}/history?of=region:{REGION}").json
    kept = dashboard.store.frame(REGIONAL_HEALTH, "plant", COMPUTED)
    own = kept[kept["region_id"] == REGION]
    assert _values(region, "health") == pytest.approx(own["health_score"].tolist()[-12:], abs=1e-6)
    site = dashboard.get(f"{API}/history?of=site:{SITE}").json
    ranks = dashboard.store.frame(SITE_RANKING, "plant", COMPUTED)
    last = ranks[ranks["site_id"] == SITE].iloc[-1]
    assert _values(site, "health")[-1] == pytest.approx(last["composite_score"], abs=1e-6)


def test_silent_windows_are_gaps_and_not_zero(store_of_minutes: Store) -> None:
    config = rows.fleet(n_sites=2)
    rows.regions(store_of_minutes, {"R-00": ["healthy", "silent", "healthy"]})
    rows.kpis(store_of_minutes, 3)
    with served(store_of_minutes, config) as running:
        viewer = running.as_("viewer")
        region = viewer.get(f"{API}/history?of=region:R-00").json
        fleet = viewer.get(f"{API}/history").json
    assert _values(region, "health")[-3:] == [0.9, None, 0.9]
    assert _values(region, "coverage")[-3:] == [1.0, 0.0, 1.0]
    assert _values(fleet, "health")[-3:] == [None, None, None]


def test_a_long_course_is_thinned_by_means_with_the_extremes_beside_them() -> None:
    grid = Grid(Span(0, 9_000 * SECOND), SECOND)
    values = np.arange(9_000.0)
    values[5:10] = np.nan
    course = grid.course("fleet", [Series("health", "Health", "1", values)])
    (health,) = course["series"]
    assert course["thinned"]
    assert course["windows_per_point"] == 5
    assert len(course["t"]) == len(health["values"]) == 1_800 <= MOST_POINTS
    assert (health["values"][0], health["low"][0], health["high"][0]) == (2.0, 0.0, 4.0)
    assert health["values"][1] is None


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("from=20&to=10", "from must lie before to"),
        ("from=x", "expected seconds"),
        ("from=nan", "expected seconds"),
        ("from=1e300", "expected seconds"),
        ("from=0", "at most 92"),
        ("of=planet", "expected fleet"),
        ("of=region:", "expected fleet"),
        ("of=fleet:x", "expected fleet"),
    ],
)
def test_ranges_that_cannot_be_read_are_refused_in_words(
    dashboard: Served, query: str, words: str
) -> None:
    answer = dashboard.get(f"{API}/history?{query}")
    assert answer.status == 400
    assert words in answer.json["error"]


def test_a_site_s_page_has_each_kpi_in_its_own_unit(dashboard: Served) -> None:
    page = dashboard.get(f"{API}/sites/{SITE}").json
    assert page["site"]["site_id"] == SITE
    kept = dashboard.store.frame(SITE_KPI, "plant", LAST)
    share = float(kept[kept["site_id"] == SITE].iloc[0]["kpi_00"])
    kpi, shown = PLANT.kpis[0], page["kpis"][0]
    assert (shown["name"], shown["unit"]) == (kpi.name, kpi.unit)
    assert len(page["kpis"]) == len(PLANT.kpis)
    if share == share:  # noqa: PLR0124 - it reported
        assert shown["values"][-1] == pytest.approx(kpi.lo + share * (kpi.hi - kpi.lo), rel=1e-5)
    assert len(page["health"]["t"]) == len(page["health"]["values"]) == 12


def test_an_unknown_site_is_not_found(dashboard: Served) -> None:
    assert dashboard.get(f"{API}/sites/nowhere").status == 404
    assert dashboard.get(f"{API}/sites/..%2f..%2fetc").status == 404


def test_the_ranking_is_exported_as_it_is_filtered_and_sorted(dashboard: Served) -> None:
    found = _lines(
        dashboard, f"ranking.csv?region={REGION}&sort=health&order=desc&columns=site_id,health"
    )
    own = [m.site_id for m in PLANT.region_mappings if m.region_id == REGION]
    assert sorted(line["site_id"] for line in found) == sorted(own)
    known = [float(line["health"]) for line in found if line["health"]]
    assert known == sorted(known, reverse=True)
    assert list(found[0]) == ["site_id", "health"]
    one = _lines(dashboard, f"ranking.csv?q={SITE.lower()}")
    assert [line["site_id"] for line in one] == [SITE]
    refused = dashboard.get(f"{API}/export/ranking.csv?sort=password")
    assert (refused.status, "site_id" in refused.json["error"]) == (400, True)


def test_every_view_can_be_exported(dashboard: Served) -> None:
    assert {line["region_id"] for line in _lines(dashboard, "regions.csv")} >= {REGION}
    assert len(_lines(dashboard, "history.csv?of=fleet")) == 12
    assert len(_lines(dashboard, f"site.csv?site={SITE}")) == 12
    dashboard.get(f"{API}/export/incidents.csv")
    assert dashboard.get(f"{API}/export/tokens.csv").status == 404


def test_no_cell_is_taken_for_a_formula() -> None:
    texts = ["=1+1", "+1", "-1", "@x", "\t=1", " =1", "\r=1", "plain", 'a"b', "a,b"]
    lines = written([{"=name": text, "n": -1.5} for text in texts])
    found = list(csv.reader(io.StringIO(lines, newline="")))
    assert found[0] == ["'=name", "n"]
    for text, line in zip(texts, found[1:], strict=True):
        is_safe = text in ("plain", 'a"b', "a,b")
        assert line == [text if is_safe else f"'{text}", "-1.5"]


def test_a_kpi_s_band_is_what_its_baseline_says_is_usual(store_of_minutes: Store) -> None:
    store, config = store_of_minutes, rows.fleet(n_sites=2)
    rows.kpis(store, 1)
    first = {**rows._window(0), "site_id": "S-000", "region_id": "R-00", "kpi_00": 0.5}
    rows.write(store, SITE_KPI, Span(rows.minute(0), rows.minute(1)), [first])
    usual = {**rows._window(0), "scope": "site", "scope_id": "S-000", "state": "trained"}
    day = Span(rows.START, rows.START + 24 * HOUR)
    rows.write(store, BASELINE, day, [{**usual, "centre_00": 0.4, "scale_00": 0.1}])
    with served(store, config) as running:
        page = running.as_("viewer").get(f"{API}/sites/S-000").json
    temp, power = page["kpis"]
    assert (temp["values"][-1], temp["low"][-1], temp["high"][-1]) == pytest.approx(
        (50.0, 10.0, 70.0), abs=1e-4
    )
    assert (power["low"], power["high"]) == (None, None)
    assert set(page["site"]) >= {"status", "disposition", "incident", "last_seen"}
