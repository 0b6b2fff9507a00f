from typing import Any

import pyarrow as pa

from fleet_dagster.core.windows import DAY, MINUTE, Span
from fleet_dagster.model.alerts import Truth
from fleet_dagster.storage.acknowledged import AcknowledgedIncident
from fleet_dagster.training_sets.choice import STAMP
from fleet_dagster.training_sets.labels import label_counts, label_digest, labelled
from fleet_dagster_tests.fleets import MIDNIGHT

TODAY = Span(MIDNIGHT, MIDNIGHT + DAY)


def windows(n: int, *sites: str) -> pa.Table:
    """Return unlabelled rows: the first windows of a day, of a minute each, of each site."""
    starts = [MIDNIGHT + k * MINUTE for k in range(n) for _ in sites]
    return pa.table(
        {
            "window_start": pa.array(starts, pa.int64()).cast(STAMP),
            "window_end": pa.array([s + MINUTE for s in starts], pa.int64()).cast(STAMP),
            "site_id": list(sites) * n,
            "incident_id": pa.nulls(len(starts), pa.string()),
            "truth": pa.nulls(len(starts), pa.string()),
            "is_root": pa.nulls(len(starts), pa.bool_()),
        }
    )


def incident(
    name: str, start: float, end: float, truth: Truth, *sites: str, cause: str | None = None
) -> AcknowledgedIncident:
    """Return an incident from one minute of the day to another."""
    span = Span(MIDNIGHT + int(start * MINUTE), MIDNIGHT + int(end * MINUTE))
    return AcknowledgedIncident((name, f"{name}-later"), span, sites, truth, cause, None, "kim", 0)


def labels(rows: pa.Table, site: str, column: str) -> list[Any]:  # Any: texts, flags and nulls
    return [r[column] for r in rows.to_pylist() if r["site_id"] == site]


def test_windows_of_an_incidents_sites_from_its_onset_to_its_end_have_its_label() -> None:
    broken = incident("a", 1.5, 4, "fault", "S1", "S2", cause="S1")
    rows = labelled(windows(6, "S1", "S2", "S3"), [broken])
    assert labels(rows, "S1", "truth") == [None, "fault", "fault", "fault", None, None]
    assert labels(rows, "S2", "incident_id") == [None, "a", "a", "a", None, None]
    assert labels(rows, "S1", "is_root") == [None, True, True, True, None, None]
    assert labels(rows, "S2", "is_root") == [None, False, False, False, None, None]
    assert labels(rows, "S3", "truth") == [None] * 6
    assert label_counts(rows) == {"fault": 6}


def test_a_fault_counts_before_a_false_alarm_and_the_earlier_of_equals_before_the_later() -> None:
    found = [
        incident("late", 2, 6, "fault", "S1"),
        incident("noise", 0, 6, "false_alarm", "S1", cause="S1"),
        incident("early", 1, 3, "fault", "S1"),
    ]
    for order in (found, found[::-1]):
        rows = labelled(windows(6, "S1"), order)
        expected = ["noise", "early", "early", "late", "late", "late"]
        assert labels(rows, "S1", "incident_id") == expected
        assert labels(rows, "S1", "is_root") == [True, None, None, None, None, None]


def test_labelling_again_replaces_all_labels() -> None:
    first = labelled(windows(2, "S1"), [incident("a", 0, 2, "unknown", "S1")])
    again = labelled(first, [incident("a", 1, 2, "maintenance", "S1")])
    assert labels(again, "S1", "truth") == [None, "maintenance"]


def test_the_digest_of_a_days_labels_changes_with_what_was_said_about_that_day_only() -> None:
    def digest(*found: AcknowledgedIncident) -> str:
        return label_digest(found, TODAY)

    one = incident("a", 1, 2, "fault", "S1")
    assert digest(one) != digest()
    assert digest(one) != digest(incident("a", 1, 2, "maintenance", "S1"))
    assert digest(one) != digest(incident("a", 1, 3, "fault", "S1"))
    assert digest(one) != digest(incident("a", 1, 2, "fault", "S1", cause="S1"))
    yesterday, tomorrow = (incident("b", m, m + 5, "fault", "S1") for m in (-9, 24 * 60))
    assert digest(one, yesterday, tomorrow) == digest(one)
    going_on, later = (incident("c", 5, m, "fault", "S1") for m in (24 * 60, 48 * 60))
    assert digest(going_on) == digest(later)
