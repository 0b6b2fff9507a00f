"""What becomes one incident, where it began, and how it is told: alarms made by hand."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from fleet_dagster.core.windows import MINUTE
from fleet_dagster.frames.columns import microseconds
from fleet_dagster.model.errors import FrameError
from fleet_dagster.nodes.anomaly_correlator import correlate_anomalies
from fleet_dagster_tests import fleets
from fleet_dagster_tests.anomalies import OUTPUT, alarm, scores, sites
from fleet_dagster_tests.fleets import NOON


def minutes(column: "pd.Series[Any]") -> list[int]:
    return [int(m) for m in (microseconds(column) - NOON) // MINUTE]


def last(rows: pd.DataFrame) -> pd.DataFrame:
    told: pd.DataFrame = rows[rows["phase"] != "closed"].groupby("incident_id").tail(1)
    return told


def test_a_lone_site_is_isolated_opens_with_its_third_window_and_closes_ten_after_its_alarm() -> (
    None
):
    rows = correlate_anomalies(
        scores(alarm("S-00", 0, 6, ratio=9.0), alarm("S-01", 40, 41)), sites(3), interval_s=60
    )
    assert rows["phase"].tolist() == ["opened", "closed"]
    assert minutes(rows["window_start"]) == [2, 17]  # last in alarm in minute 6, for 3, 4 and 5
    assert rows["pattern"].tolist() == ["isolated"] * 2
    assert rows["severity"].tolist() == ["warning"] * 2
    assert rows["p_value"].isna().all()
    assert rows["root_cause_kpi"].tolist() == ["vibration"] * 2


def test_two_of_four_windows_are_no_alarm_and_three_with_a_gap_are() -> None:
    two = scores(alarm("S-00", 0, 2), alarm("S-00", 4, 6))
    assert correlate_anomalies(two, sites(1), interval_s=60).empty
    three = scores(alarm("S-00", 0, 2), alarm("S-00", 3, 4))
    assert minutes(correlate_anomalies(three, sites(1), interval_s=60)["window_start"]) == [3]


def test_a_cascade_is_one_incident_and_the_site_upstream_is_blamed() -> None:
    spread = scores(*(alarm(f"S-{i:02d}", 2 * i, 30, onset=2 * i) for i in (0, 1, 2, 3)))
    rows = correlate_anomalies(spread, sites(8, chain=True))
    assert len(set(rows["incident_id"])) == 1
    assert rows["phase"].tolist() == ["opened", "changed", "changed", "changed"]
    final = rows.iloc[-1]
    assert final["pattern"] == "cascade"
    assert final["sites"] == ["S-00", "S-01", "S-02", "S-03"]
    assert final["root_cause_site"] == "S-00"
    assert final["candidates"][0] == "S-00"
    assert final["p_value"] < 1e-4
    assert final["severity"] == "warning"


def test_the_graph_outweighs_the_order_in_which_alarms_are_noticed() -> None:
    late_root = scores(alarm("S-00", 3, 30, onset=3), alarm("S-01", 0, 30, onset=0))
    with_graph = last(correlate_anomalies(late_root, sites(2, chain=True)))
    without = last(correlate_anomalies(late_root, sites(2)))
    assert with_graph["root_cause_site"].tolist() == ["S-00"]
    assert without["root_cause_site"].tolist() == ["S-01"]


def test_tied_onsets_without_a_graph_are_undetermined_with_candidates() -> None:
    tied = scores(alarm("S-00", 0, 9), alarm("S-01", 0, 9), alarm("S-02", 1, 9))
    (row,) = last(correlate_anomalies(tied, sites(8))).to_dict("records")
    assert pd.isna(row["root_cause_site"])
    assert pd.isna(row["root_cause_kpi"])
    assert row["candidates"] == ["S-00", "S-01", "S-02"]


def test_strangers_that_alarm_at_once_stay_apart() -> None:
    strangers = scores(alarm("S-00", 0, 9), alarm("S-01", 0, 9, blamed=OUTPUT))
    rows = correlate_anomalies(strangers, sites(12, n_regions=2))
    assert rows[rows["phase"] == "opened"]["pattern"].tolist() == ["isolated", "isolated"]


def test_sites_that_often_alarm_are_not_put_together_for_alarming_at_once() -> None:
    pair = scores(alarm("S-00", 0, 9), alarm("S-01", 3, 9))
    often = pd.DataFrame(
        {"site_id": ["S-00", "S-01"], "n_onsets": [900, 900], "exposure_h": [96.0, 96.0]}
    )
    assert last(correlate_anomalies(pair, sites(8)))["n_sites"].max() == 2
    assert last(correlate_anomalies(pair, sites(8), history=often))["n_sites"].max() == 1


def test_two_hundred_alarms_of_one_cause_are_one_incident() -> None:
    rng = np.random.default_rng(5)
    starts = rng.integers(0, 8, 200)
    many = scores(*(alarm(f"S-{i:02d}", int(s), 40) for i, s in enumerate(starts)))
    rows = correlate_anomalies(many, sites(200, n_regions=16))
    assert len(set(rows["incident_id"])) == 1
    final = last(rows).iloc[0]
    assert final["n_sites"] == 200
    assert final["pattern"] == "fleet_wide"
    assert final["severity"] == "critical"


def test_when_two_incidents_turn_out_to_be_one_the_earliest_onset_wins() -> None:
    both = scores(alarm("S-00", 0, 30, onset=-2), alarm("S-02", 3, 30, onset=-9, blamed=OUTPUT))
    bridge = alarm("S-03", 6, 30)
    known = sites(5, n_regions=5)
    known["depends_on"] = [[], ["S-00"], [], ["S-01", "S-02"], []]
    apart = correlate_anomalies(both, known)
    assert apart["phase"].tolist() == ["opened", "opened"]
    first, second = apart["incident_id"]
    rows = correlate_anomalies(scores(both, bridge), known)
    loser, winner = (rows[rows["incident_id"] == i].iloc[-1] for i in (first, second))
    assert (loser["phase"], loser["merged_into"]) == ("merged", second)
    assert minutes(rows["window_start"][2:]) == [8, 8]
    assert winner["phase"] == "changed"
    assert winner["sites"] == ["S-02", "S-00", "S-03"]


def test_a_site_that_alarms_again_returns_to_its_open_incident() -> None:
    again = scores(alarm("S-00", 0, 60), alarm("S-01", 2, 8), alarm("S-01", 40, 50, onset=40))
    rows = correlate_anomalies(again, sites(2, chain=True), interval_s=60)
    assert rows["phase"].tolist() == ["opened", "changed"]
    assert last(rows)["n_sites"].tolist() == [2]


def test_what_grows_worse_is_told_again() -> None:
    worse = scores(alarm("S-00", 0, 10, ratio=1.5), alarm("S-00", 10, 12, ratio=5.0))
    rows = correlate_anomalies(worse, sites(1))
    assert rows["severity"].tolist() == ["info", "warning"]
    assert minutes(rows["window_start"]) == [2, 10]


def test_the_order_of_rows_does_not_matter() -> None:
    spread = scores(*(alarm(f"S-{i:02d}", 2 * i, 30, onset=2 * i) for i in range(4)))
    shuffled = spread.sample(frac=1.0, random_state=3)
    chain = sites(6, chain=True)
    expected = correlate_anomalies(spread, chain)
    fleets.assert_same_rows(expected, correlate_anomalies(shuffled, chain.iloc[::-1]))


def test_no_scores_and_no_anomalies_are_no_incidents() -> None:
    quiet = alarm("S-00", 0, 9).assign(is_anomalous=False)
    assert correlate_anomalies(quiet, sites(1)).empty
    assert correlate_anomalies(quiet.iloc[:0], sites(1)).empty


def test_scores_alone_are_enough() -> None:
    bare = alarm("S-00", 0, 9)[["site_id", "window_start", "score", "is_anomalous"]]
    rows = correlate_anomalies(bare, sites(1)[["site_id", "region_id"]])
    assert minutes(rows["onset"]) == [0]
    assert rows["root_cause_kpi"].isna().all()
    assert rows["domain"].tolist() == ["all"]


@pytest.mark.parametrize(
    ("spoilt", "words"),
    [
        (lambda f: f.drop(columns="score"), "columns \\['score'\\] are missing"),
        (lambda f: f.assign(site_id="S-99"), "sites` lacks: 'S-99'"),
        (lambda f: pd.concat([f, f]), "scores a window twice"),
        (lambda f: f.assign(score=np.nan), "anomalous without a score"),
        (lambda f: f.assign(window_start=f["window_start"].dt.tz_localize(None)), "with a zone"),
        (
            lambda f: f.assign(window_start=f["window_start"] + pd.Timedelta(seconds=7)),
            "no multiple of 60 s",
        ),
    ],
)
def test_scores_that_cannot_be_used_are_refused(spoilt: Any, words: str) -> None:
    with pytest.raises(FrameError, match=words):
        correlate_anomalies(spoilt(alarm("S-00", 0, 9)), sites(2))


def test_sites_that_cannot_be_used_are_refused() -> None:
    rows, known = alarm("S-00", 0, 9), sites(2)
    with pytest.raises(FrameError, match="twice: 'S-00'"):
        correlate_anomalies(rows, pd.concat([known, known.iloc[:1]]))
    with pytest.raises(FrameError, match="depends on 'S-77'"):
        correlate_anomalies(rows, known.assign(depends_on=pd.Series([[], ["S-77"]], dtype=object)))
    with pytest.raises(FrameError, match="region_id"):
        correlate_anomalies(rows, known.drop(columns="region_id"))
    history = pd.DataFrame({"site_id": ["S-00"], "n_onsets": [-1], "exposure_h": [2.0]})
    with pytest.raises(FrameError, match="numbers from 0 on"):
        correlate_anomalies(rows, known, history=history)
