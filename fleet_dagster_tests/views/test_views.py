import base64
from xml.etree import ElementTree as ET

import numpy as np
import pyarrow as pa
import pytest

from fleet_dagster.core.windows import DAY, HOUR, MINUTE, Span
from fleet_dagster.storage.anomalies import Incident
from fleet_dagster.views.incident_table import SHOWN, incident_table
from fleet_dagster.views.score_figures import ScoreGrid
from fleet_dagster.views.score_plot import SITES, plot_in_markdown, score_plot
from fleet_dagster_tests.fleets import MIDNIGHT, NOON
from fleet_dagster_tests.incidents import stamp

SVG = "{http://www.w3.org/2000/svg}"
DAY_SPAN = Span(MIDNIGHT, MIDNIGHT + DAY)


def grid(score: np.ndarray, *, step: int = MINUTE, threshold: float = 0.5) -> ScoreGrid:
    values = score.astype(np.float32)
    sites = tuple(f"S-{i:02d}" for i in range(len(values)))
    starts = MIDNIGHT + step * np.arange(values.shape[1])
    states = np.where(np.isnan(values), 2, 0).astype(np.int8)
    return ScoreGrid(sites, starts, values, values > threshold, states)


def drawn(one: ScoreGrid, span: Span = DAY_SPAN, threshold: float = 0.5) -> ET.Element:
    return ET.fromstring(score_plot(one, one.worst(SITES), span, threshold))  # noqa: S314 - our own text


def line(tree: ET.Element) -> list[tuple[float, float]]:
    """Return the points of the worst site's line, which is drawn last."""
    steps = list(tree.iter(f"{SVG}path"))[-1].attrib["d"].replace("h0", "")
    pairs = [s.split() for s in steps.replace("M", "L").split("L") if s]
    return [(float(x), float(y)) for x, y in pairs]


def test_rows_in_any_order_become_one_grid() -> None:
    stamps = pa.array([stamp(NOON + MINUTE), stamp(NOON), stamp(NOON)], pa.timestamp("us", "UTC"))
    rows = pa.table(
        {
            "window_start": stamps,
            "site_id": pa.array(["B", "B", "A"]).dictionary_encode(),
            "score": pa.array([0.9, 0.2, None], pa.float32()),
            "is_anomalous": [True, False, False],
            "state": ["warming_up", "scored", "not_scored"],
        }
    )
    found = ScoreGrid.of(rows)
    assert found.sites == ("A", "B")
    np.testing.assert_array_equal(found.starts, [NOON, NOON + MINUTE])
    np.testing.assert_allclose(found.score, [[np.nan, np.nan], [0.2, 0.9]], rtol=1e-6)
    np.testing.assert_array_equal(found.state, [[2, -1], [0, 1]])


def test_the_worst_are_most_often_anomalous_then_highest_and_never_unscored() -> None:
    score = np.full((4, 10), 0.1)
    score[0, :2], score[1, :1], score[2] = 0.6, 0.9, np.nan
    assert grid(score).worst(9) == [0, 1, 3]


def test_a_day_of_a_large_fleet_is_a_small_picture_that_hides_no_peak() -> None:
    score = np.random.default_rng(1).uniform(0.1, 0.3, (40, 2880))
    score[7, 1440] = 0.99
    one = grid(score, step=MINUTE // 2)
    assert len(plot_in_markdown(one, DAY_SPAN, 0.5)) < 50_000
    assert min(y for _, y in line(drawn(one))) == pytest.approx(40 + 0.01 * 240, abs=0.1)


def test_the_picture_has_a_background_a_threshold_and_the_sites_names() -> None:
    score = np.full((8, 60), 0.2)
    score[5] = 0.8
    tree = drawn(grid(score), threshold=0.7)
    texts = [t.text for t in tree.iter(f"{SVG}text")]
    assert next(tree.iter(f"{SVG}rect")).attrib["fill"] == "#ffffff"
    assert "anomalous above 0.7" in texts
    assert next(t for t in texts if t and t.startswith("S-")) == "S-05"
    assert len(list(tree.iter(f"{SVG}path"))) == SITES


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (MINUTE, ["00:00"]),
        (HOUR, ["00:00", "00:10", "00:20", "00:30", "00:40", "00:50"]),
        (DAY, ["00:00", "04:00", "08:00", "12:00", "16:00", "20:00"]),
        (2 * DAY, ["01-05 00:00", "01-05 12:00", "01-06 00:00", "01-06 12:00"]),
        (7 * DAY, ["01-05", "01-06", "01-07", "01-08", "01-09", "01-10", "01-11"]),
        (30 * DAY, ["01-05", "01-10", "01-15", "01-20", "01-25", "01-30"]),
    ],
)
def test_the_axis_names_round_instants_once_each(length: int, expected: list[str]) -> None:
    span = Span(MIDNIGHT, MIDNIGHT + length)
    texts = [t.text for t in drawn(grid(np.full((1, 5), 0.2)), span).iter(f"{SVG}text")]
    labels = texts[texts.index("1") + 1 :]
    assert labels[: len(expected) + 1] == [*expected, "anomalous above 0.5"]


def test_an_axis_that_begins_between_round_instants_names_those_within() -> None:
    span = Span(MIDNIGHT + 70 * MINUTE, MIDNIGHT + 70 * MINUTE + 500 * DAY)
    texts = [t.text for t in drawn(grid(np.full((1, 5), 0.2)), span).iter(f"{SVG}text")]
    assert texts[texts.index("1") + 1] == "01-06"


def test_names_with_signs_of_markup_are_only_text() -> None:
    one = ScoreGrid.of(
        pa.table(
            {
                "window_start": pa.array([stamp(NOON)], pa.timestamp("us", "UTC")),
                "site_id": ["<script>&"],
                "score": pa.array([0.9], pa.float32()),
                "is_anomalous": [True],
                "state": ["scored"],
            }
        )
    )
    assert "<script>&" in [t.text for t in drawn(one).iter(f"{SVG}text")]


def test_a_stretch_without_scores_is_a_gap() -> None:
    score = np.full((1, 100), 0.2)
    score[0, 40:60] = np.nan
    (path,) = drawn(grid(score)).iter(f"{SVG}path")
    assert path.attrib["d"].count("M") == 2


def test_the_picture_travels_as_an_image_in_markdown() -> None:
    text = plot_in_markdown(grid(np.full((1, 5), 0.2)), DAY_SPAN, 0.5)
    head = "![Anomaly scores of the worst sites](data:image/svg+xml;base64,"
    assert text.startswith(head)
    assert base64.b64decode(text[len(head) : -1]).startswith(b"<svg")


def test_nothing_scored_is_said_in_words() -> None:
    assert "Nothing was scored" in plot_in_markdown(grid(np.full((2, 5), np.nan)), DAY_SPAN, 0.5)


def incident(incident_id: str = "a1", **fields: object) -> Incident:
    known: dict[str, object] = {
        "incident_id": incident_id,
        "since": stamp(NOON),
        "changed": stamp(NOON),
        "pattern": "fleet_wide",
        "severity": "critical",
        "sites": ("S1", "S2"),
        "regions": ("north",),
        "root_cause_site": "S1",
        "root_cause_kpi": "temp",
        "candidates": ("S1", "S2"),
        "confidence": 0.934,
    }
    return Incident(**{**known, **fields})  # type: ignore[arg-type] # fields of several types


def test_incidents_are_a_table() -> None:
    lines = incident_table([incident()], "2026-01-05T13:00:00Z").splitlines()
    assert lines[0] == "Open at 2026-01-05T13:00:00Z:"
    assert lines[-1] == (
        "| 01-05 12:00 | critical, fleet wide, 93% sure | 2 sites: S1, S2; origin S1, temp | `a1` |"
    )


def test_a_lone_site_is_named_once() -> None:
    alone = incident(sites=("S1",), pattern="isolated", confidence=0.994)
    row = incident_table([alone], "now").splitlines()[-1]
    assert row == "| 01-05 12:00 | critical, isolated, 99% sure | S1, temp | `a1` |"


def test_nothing_is_called_certain() -> None:
    row = incident_table([incident(confidence=0.99999)], "now").splitlines()[-1]
    assert ", >99% sure |" in row


def test_an_undetermined_origin_names_its_candidates_and_a_pipe_breaks_no_cell() -> None:
    one = incident(root_cause_site=None, candidates=tuple(f"S|{i}" for i in range(8)))
    row = incident_table([one], "now").splitlines()[-1]
    assert "undetermined: S\\|0, S\\|1, S\\|2, S\\|3, S\\|4 and 3 more" in row


def test_no_incident_and_many_incidents() -> None:
    assert incident_table([], "now") == "No incident is open at now."
    many = incident_table([incident(f"{i}") for i in range(SHOWN + 2)], "now")
    assert many.endswith("and 2 more")
