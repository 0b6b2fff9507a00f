import datetime as dt
import json
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from fleet_dagster.core.windows import DAY, HOUR, Span
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import ConfigError
from fleet_dagster.model.tables import ANOMALY_SCORE, FLEET_KPI, SITE_KPI, SITE_RANKING
from fleet_dagster.storage.acknowledged import AcknowledgedIncident
from fleet_dagster.storage.history import Entry
from fleet_dagster.storage.store import Store
from fleet_dagster.training_sets.choice import Choice
from fleet_dagster.training_sets.folder import TrainingFolder
from fleet_dagster.training_sets.manifest import Manifest
from fleet_dagster.training_sets.update import CONSUMER, STREAM, Acknowledged, Writer
from fleet_dagster_tests import installations as at
from fleet_dagster_tests import worker

SEED = 20_261_123
DAYS = ["2026-01-01", "2026-01-02", "2026-01-03"]
CONFIG = at.coarse()
PAIR = ("MX-0002", "MX-0003")


def said(*incidents: AcknowledgedIncident) -> Acknowledged:
    """Return what tells of incidents as people acknowledged them."""

    def told(_store: Store, _fleet: str, span: Span) -> Sequence[AcknowledgedIncident]:
        return [one for one in incidents if one.span.overlaps(span)]

    return told


def fault(start: int, end: int) -> AcknowledgedIncident:
    return AcknowledgedIncident(("a",), Span(start, end), PAIR, "fault", PAIR[0], None, "kim", 0)


def update(store: Store, folder: Path, *incidents: AcknowledgedIncident) -> Manifest:
    """Bring a folder up to date."""
    writer = Writer(store, CONFIG, TrainingFolder(folder), said(*incidents))
    return writer.update(Choice.of(CONFIG), at.FIRST)


def files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted((folder / "days").iterdir())}


def written_at(folder: Path) -> dict[str, int]:
    return {p.stem: p.stat().st_mtime_ns for p in sorted((folder / "days").iterdir())}


def correct(store: Store, *, day: int = 2) -> None:
    """Land a correction of one window of a day, and bring the tables up to date."""
    moment = at.FIRST + day * DAY + 7 * HOUR + 1
    late = at.snapshots("MX-0002", [moment], CONFIG, share=0.9)
    at.land(store, CONFIG, late, batch_id=f"late-{day}", historical=True)
    at.refresh_all(store, CONFIG, at.days(day, day + 1))


def cursor(store: Store) -> int:
    found = store.cursors.find("plant", STREAM.name, CONSUMER)
    assert found is not None
    return found.position


def test_rows_are_what_the_tables_hold_by_the_kpis_names(store: Store, tmp_path: Path) -> None:
    choice = Choice.of(CONFIG, ("process_temp_c",), ("MX-0002", "MX-0004"))
    Writer(store, CONFIG, TrainingFolder(tmp_path / "set")).write(at.days(0, 3), choice)
    rows = pd.read_parquet(tmp_path / "set" / "days")
    assert set(rows["site_id"]) == {"MX-0002", "MX-0004"}
    assert len(rows) == 2 * 3 * 48
    keys = ["window_start", "site_id"]
    both = rows.merge(at.rows_of(store, SITE_KPI), "left", keys, suffixes=("", "_stored"))
    number = CONFIG.kpi_names.index("process_temp_c")
    kpi, stored = CONFIG.kpis[number], both[f"kpi_{number:02d}"]
    np.testing.assert_array_equal(both["kpi_process_temp_c"], stored)
    back = (both["reading_process_temp_c"] - kpi.lo) / (kpi.hi - kpi.lo)
    np.testing.assert_allclose(back, stored, rtol=1e-6)
    assert "kpi_efficiency_pct" not in rows
    names = ["online", "degraded", "faulted", "offline"]
    assert both["status"].tolist() == [names[int(code)] for code in both["status_stored"]]


def test_health_is_that_of_the_ranking_and_fleet_health_is_joined(
    store: Store, tmp_path: Path
) -> None:
    Writer(store, CONFIG, TrainingFolder(tmp_path / "set")).write(at.days(0, 3), Choice.of(CONFIG))
    rows = pd.read_parquet(tmp_path / "set" / "days")
    keys = ["window_start", "site_id"]
    ranked = rows.merge(at.rows_of(store, SITE_RANKING), "inner", keys)
    assert len(ranked) > 400
    np.testing.assert_allclose(ranked["health"], ranked["composite_score"], rtol=1e-9)
    fleet = rows.merge(at.rows_of(store, FLEET_KPI), "left", "window_start")
    np.testing.assert_array_equal(fleet["fleet_health_x"], fleet["fleet_health_y"])


def test_a_sites_score_over_all_kpis_is_joined(store: Store, tmp_path: Path) -> None:
    stored = store.lake.read(ANOMALY_SCORE, "plant", at.days(0, 1))
    given = pa.array(np.linspace(0.1, 0.9, stored.num_rows), pa.float32())
    scored = stored.set_column(stored.schema.get_field_index("score"), "score", given)
    store.lake.replace(ANOMALY_SCORE, "plant", [at.days(0, 1)], scored, "scored")
    Writer(store, CONFIG, TrainingFolder(tmp_path / "set")).write(at.days(0, 1), Choice.of(CONFIG))
    rows = pd.read_parquet(tmp_path / "set" / "days")
    scores = at.rows_of(store, ANOMALY_SCORE, at.days(0, 1))
    both = rows.merge(scores[scores["domain"] == "all"], "left", ["window_start", "site_id"])
    assert both["score"].notna().sum() > 200
    np.testing.assert_array_equal(both["anomaly_score"], both["score"])


def test_the_manifest_says_where_the_rows_come_from_and_what_they_mean(
    store: Store, tmp_path: Path
) -> None:
    writer = Writer(
        store, CONFIG, TrainingFolder(tmp_path / "set"), said(fault(at.FIRST, at.FIRST + HOUR))
    )
    span = Span(at.FIRST, at.FIRST + DAY + HOUR)
    writer.write(span, Choice.of(CONFIG, ("process_temp_c",)))
    content = json.loads((tmp_path / "set" / "manifest.json").read_text("utf-8"))
    assert (content["fleet"], content["from"]) == ("plant", "2026-01-01T00:00:00Z")
    assert content["to"] == "2026-01-02T01:00:00Z"
    assert [k["unit"] for k in content["kpis"]] == ["degC"]
    assert content["log_position"] == store.history.last_number()
    assert [s["version_no"] for s in content["settings"]] == [1]
    stored = at.rows_of(store, SITE_KPI, span)
    assert content["rows"] == len(stored)
    assert content["labelled_rows"]["fault"] == 4
    assert content["days"]["2026-01-01"]["labels"] == {"fault": 4}
    schema = pq.read_schema(tmp_path / "set" / "days" / "2026-01-01.parquet")
    assert list(content["columns"]) == schema.names


def test_an_update_rewrites_the_days_that_changed_and_no_other(
    store: Store, tmp_path: Path
) -> None:
    folder = tmp_path / "set"
    update(store, folder)
    before = written_at(folder)
    assert list(before) == DAYS
    update(store, folder)
    assert written_at(folder) == before
    correct(store)
    update(store, folder)
    after = written_at(folder)
    assert [day for day in DAYS if after[day] != before[day]] == DAYS[2:]
    at.land(store, CONFIG, at.telemetry(4, step_s=600), batch_id="four")
    at.refresh_all(store, CONFIG, at.days(3, 4))
    update(store, folder)
    assert list(written_at(folder)) == [*DAYS, "2026-01-04"]
    fresh = tmp_path / "fresh"
    Writer(store, CONFIG, TrainingFolder(fresh)).write(at.days(0, 4), Choice.of(CONFIG))
    assert files(folder) == files(fresh)


def test_scores_that_change_without_the_fleets_kpis_rewrite_their_day_too(
    store: Store, tmp_path: Path
) -> None:
    update(store, tmp_path / "set")
    before = written_at(tmp_path / "set")
    day = at.days(1, 2)
    entry = Entry(ANOMALY_SCORE.name, "plant", day, 1, "restate", "", 0, "", "", "")
    with store.control.transaction() as tx:
        store.history.record(tx, [entry])
    update(store, tmp_path / "set")
    after = written_at(tmp_path / "set")
    assert [d for d in DAYS if after[d] != before[d]] == [DAYS[1]]


def test_days_of_which_people_say_something_new_are_labelled_again(
    store: Store, tmp_path: Path
) -> None:
    folder, second = tmp_path / "set", at.FIRST + DAY
    update(store, folder)
    before = written_at(folder)
    done = update(store, folder, fault(second - HOUR, second + 2 * HOUR))
    after = written_at(folder)
    assert [day for day in DAYS if after[day] != before[day]] == DAYS[:2]
    assert [dict(day.labels) for day in done.days.values()] == [{"fault": 4}, {"fault": 8}, {}]
    assert update(store, folder).days.keys() == done.days.keys()
    assert pd.read_parquet(folder / "days")["truth"].isna().all()


def test_a_day_whose_site_rows_have_expired_is_kept_and_still_labelled(
    store: Store, tmp_path: Path
) -> None:
    folder, first = tmp_path / "set", at.days(0, 1)
    update(store, folder)
    before = pd.read_parquet(folder / "days" / f"{DAYS[0]}.parquet")
    with store.door.hold([SITE_KPI], "plant", first) as holder:
        store.door.expire(SITE_KPI, "plant", first, holder=holder)
    done = update(store, folder, fault(first.start, first.start + HOUR))
    day = done.days[dt.date(2026, 1, 1)]
    assert (day.state, day.n_rows, dict(day.labels)) == ("kept", len(before), {"fault": 4})
    after = pd.read_parquet(folder / "days" / f"{DAYS[0]}.parquet")
    own = [c for c in before if c not in ("incident_id", "truth", "is_root")]
    pd.testing.assert_frame_equal(after[own], before[own])
    assert (after["truth"] == "fault").sum() == 4


def test_a_day_whose_scores_have_expired_before_its_site_rows_keeps_them(
    store: Store, tmp_path: Path
) -> None:
    """Each table has a retention of its own: a file must not lose what it holds because one of them is shorter."""
    folder, first = tmp_path / "set", at.days(0, 1)
    update(store, folder)
    before = files(folder)
    with store.door.hold([ANOMALY_SCORE], "plant", first) as holder:
        store.door.expire(ANOMALY_SCORE, "plant", first, holder=holder)
    done = update(store, folder)
    assert files(folder) == before
    assert done.days[dt.date(2026, 1, 1)].state == "kept"
    late = Writer(store, CONFIG, TrainingFolder(tmp_path / "late"))
    assert late.write(at.days(0, 3), Choice.of(CONFIG)).days[dt.date(2026, 1, 1)].n_rows > 0


def test_a_day_that_expires_while_it_is_read_is_kept_whole(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day of a large fleet is read in pieces: half of it must not take the place of the whole."""
    folder, last = tmp_path / "set", at.days(2, 3)
    update(store, folder)
    before = pd.read_parquet(folder / "days" / f"{DAYS[2]}.parquet")
    monkeypatch.setattr("fleet_dagster.training_sets.update.PIECE_ROWS", 1)
    correct(store)
    writer = Writer(store, CONFIG, TrainingFolder(folder), said())
    pieces = Writer._pieces

    def half_way(self: Writer, span: Span, choice: Choice) -> Iterator[pa.Table]:
        for n, piece in enumerate(pieces(self, span, choice)):
            if n == 12:
                with store.door.hold([SITE_KPI], "plant", last) as holder:
                    store.door.expire(SITE_KPI, "plant", last, holder=holder)
            yield piece

    monkeypatch.setattr(Writer, "_pieces", half_way)
    done = writer.update(Choice.of(CONFIG), at.FIRST)
    after = pd.read_parquet(folder / "days" / f"{DAYS[2]}.parquet")
    assert done.days[dt.date(2026, 1, 3)].state == "kept"
    pd.testing.assert_frame_equal(after, before)


def test_a_set_that_ended_goes_on_when_it_is_updated(store: Store, tmp_path: Path) -> None:
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    span = Span(at.FIRST, at.FIRST + DAY + HOUR)
    Writer(store, CONFIG, TrainingFolder(cut)).write(span, Choice.of(CONFIG))
    assert list(written_at(cut)) == DAYS[:2]
    update(store, cut)
    Writer(store, CONFIG, TrainingFolder(whole)).write(at.days(0, 3), Choice.of(CONFIG))
    assert files(cut) == files(whole)


def test_a_folder_that_the_cursor_is_ahead_of_misses_nothing(store: Store, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    update(store, old)
    correct(store)
    update(store, new)
    assert cursor(store) > json.loads((old / "manifest.json").read_text("utf-8"))["log_position"]
    update(store, old)
    assert files(old) == files(new)


def test_a_folder_of_other_kpis_or_another_fleet_is_refused(store: Store, tmp_path: Path) -> None:
    update(store, tmp_path / "set")
    content = CONFIG.model_dump()
    content["kpis"][0]["hi"] += 1.0
    for other, words in (
        (FleetConfig.model_validate({**content}), "other units or ranges"),
        (FleetConfig.model_validate({**CONFIG.model_dump(), "name": "other"}), "of fleet plant"),
    ):
        manifest = TrainingFolder(tmp_path / "set").manifest()
        assert manifest is not None
        with pytest.raises(ConfigError, match=words):
            Manifest.from_json(manifest, other)


@pytest.mark.parametrize("n_kills", [2, pytest.param(5, marks=pytest.mark.slow)])
def test_an_update_killed_anywhere_leaves_whole_files_and_a_cursor_behind_them(
    three_days: Path, tmp_path: Path, n_kills: int
) -> None:
    rng = np.random.default_rng(SEED)
    home, folder, n_killed = tmp_path / "home", tmp_path / "set", 0
    while n_killed < n_kills:
        shutil.rmtree(home, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(three_days, home)
        for corrected in range(3):
            die_at = int(rng.integers(0, 3))
            n_killed += killed(home, folder, die_at, after_s=float(rng.uniform(0.02, 0.6)))
            check(home, folder)
            with Store.at(home) as store:
                correct(store, day=corrected)
        with Store.at(home) as store:
            update(store, folder)
            at.refresh_all(store, CONFIG, at.days(0, 3))
            update(store, folder)
            fresh = tmp_path / "fresh"
            Writer(store, CONFIG, TrainingFolder(fresh)).write(at.days(0, 3), Choice.of(CONFIG))
        assert files(folder) == files(fresh)
        shutil.rmtree(fresh)


def killed(home: Path, folder: Path, die_at: int, *, after_s: float) -> bool:
    """Update a folder in a process that dies after a day, or after a time; tells whether it was still at work."""
    with at.at_work(worker.training_set, (home, folder, die_at)) as (process,):
        if not die_at:
            time.sleep(after_s)
            process.kill()
    assert process.exitcode in {0, -signal.SIGKILL}
    return process.exitcode == -signal.SIGKILL


def check(home: Path, folder: Path) -> None:
    """Assert that every file is whole, and that the cursor is not ahead of what the folder says of itself."""
    content = TrainingFolder(folder).manifest()
    with Store.at(home) as store:
        for path in folder.glob("days/[!.]*"):
            day = at.days(DAYS.index(path.stem), DAYS.index(path.stem) + 1)
            assert pq.read_table(path).num_rows == store.lake.count(SITE_KPI, "plant", [day])
        if content is not None:
            found = store.cursors.find("plant", STREAM.name, CONSUMER)
            assert found is not None
            assert found.position <= content["log_position"]
