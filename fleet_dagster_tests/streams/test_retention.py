import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydantic import ValidationError

from fleet_dagster.core.windows import DAY, Span
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import ExpiredError
from fleet_dagster.model.tables import (
    ANOMALY_SCORE,
    FLEET_KPI,
    SITE_KPI,
    SITE_TELEMETRY,
    derived_tables,
    superseded,
)
from fleet_dagster.refresh.currency import Currency
from fleet_dagster.refresh.refresh import Refresh
from fleet_dagster.storage.control.schema import commit_log
from fleet_dagster.storage.door import STEPS
from fleet_dagster.storage.history import EXPIRE, Entry
from fleet_dagster.storage.store import Store
from fleet_dagster.streams.deliveries import Reader
from fleet_dagster.streams.retention import Removed, Retention
from fleet_dagster.streams.subscription import subscribe
from fleet_dagster_tests import installations as at
from fleet_dagster_tests.streams import fleet_windows as fw

FAR = at.FIRST + 10_000 * DAY


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.at(at.new_home(tmp_path / "home")) as opened:
        yield opened


def removed(store: Store, now: int, *, dry_run: bool = False, **kept: int) -> dict[str, Removed]:
    """Run retention as if rows had been written long ago; returns what it did of each table."""
    config = at.coarse().model_copy(
        update={"retention": at.coarse().retention.model_copy(update=kept)}
    )
    done = Retention(store, config, now).run(dry_run=dry_run)
    return {one.table: one for one in done}


def pretend_written(store: Store, at_us: int) -> None:
    """Move all log entries to an instant: retention counts from when rows were written."""
    with store.control.transaction() as tx:
        tx.execute(sa.update(commit_log).values(recorded_at=at_us))


def test_a_day_goes_when_its_windows_and_its_writing_are_old(store: Store) -> None:
    """Two years, counted from the later of the two: imported history is kept as long as what is new."""
    fw.write(store, dict.fromkeys(range(48), 0.5), fw.span(0, 48))
    two_years = 730 * DAY
    assert removed(store, fw.window(48) + two_years)["fleet_kpi"].days == ()
    pretend_written(store, at.FIRST)
    assert removed(store, fw.day(0).end + two_years - 1)["fleet_kpi"].days == ()
    assert removed(store, fw.day(0).end + two_years)["fleet_kpi"].days == ("2026-01-01",)
    rows = store.lake.read(FLEET_KPI, fw.CONFIG.name, fw.span(0, 48))
    assert sorted(fw.healths_of(rows)) == list(range(24, 48))
    assert removed(store, fw.day(0).end + two_years)["fleet_kpi"].days == ()


def test_a_rehearsal_says_the_same_and_changes_nothing(store: Store) -> None:
    fw.write(store, dict.fromkeys(range(72), 0.5), fw.span(0, 72))
    fw.write(store, {0: 0.9}, fw.span(0, 1))
    pretend_written(store, at.FIRST)
    with subscribe(store, fw.CONFIG, fw.STREAM, "slow"):
        pass
    before = store.history.entries(FLEET_KPI.name, fw.CONFIG.name)
    planned = removed(store, FAR, dry_run=True)["fleet_kpi"]
    assert store.history.entries(FLEET_KPI.name, fw.CONFIG.name) == before
    assert store.lake.count(FLEET_KPI, fw.CONFIG.name, [fw.span(0, 72)]) == 72
    assert store.cursors.missed(fw.CONFIG.name) == []
    done = removed(store, FAR)["fleet_kpi"]
    assert (planned.days, planned.n_rows, planned.n_replaced) == (done.days, 72, 1)
    assert [(m.consumer, m.span, m.n_entries) for m in planned.missed] == [
        ("slow", fw.day(0), 2),
        ("slow", fw.day(1), 1),
        ("slow", fw.day(2), 1),
    ]
    assert [(m.consumer, m.span) for m in done.missed] == [
        (m.consumer, m.span) for m in planned.missed
    ]


def test_a_day_that_was_written_since_retention_looked_stays(store: Store) -> None:
    """A backfill may come while the days before are being removed: what it has just computed must not go at once."""
    fw.write(store, dict.fromkeys(range(72), 0.5), fw.span(0, 72))
    pretend_written(store, at.FIRST)

    def backfill(_removed: str) -> None:
        fw.write(store, {30: 0.9}, fw.span(30, 31))
        fw.expire(store, 2)

    now = fw.day(2).end + 730 * DAY
    done = Retention(store, at.coarse(), now, backfill).run()
    removed_days = {one.table: one.days for one in done}
    assert removed_days["fleet_kpi"] == ("2026-01-01",)
    rows = fw.healths_of(store.lake.read(FLEET_KPI, fw.CONFIG.name, fw.span(0, 72)))
    assert rows == {w: 0.9 if w == 30 else 0.5 for w in range(24, 48)}
    kinds = [e.kind for e in store.history.entries(FLEET_KPI.name, fw.CONFIG.name)]
    assert kinds.count("expire") == 2


def test_replaced_rows_go_with_their_day_and_the_log_tells(store: Store) -> None:
    fw.write(store, {0: 0.5, 24: 0.5}, fw.span(0, 25))
    fw.write(store, {0: 0.9}, fw.span(0, 1))
    fw.expire(store, 0)
    assert store.lake.count(superseded(FLEET_KPI), fw.CONFIG.name, [fw.day(0)]) == 0
    newest = store.history.entries(FLEET_KPI.name, fw.CONFIG.name)[-1]
    assert (newest.kind, newest.span, newest.n_rows) == ("expire", fw.day(0), 1)
    known = store.history.coverage.covered(FLEET_KPI.name, fw.CONFIG.name, fw.span(0, 48))
    assert [c.span for c in known] == [fw.span(24, 25)]


def test_who_has_read_it_all_misses_nothing(store: Store) -> None:
    fw.write(store, {0: 0.5}, fw.span(0, 1))
    with subscribe(store, fw.CONFIG, fw.STREAM, "quick") as subscription:
        for delivery in subscription.pending():
            subscription.done(delivery)
    with subscribe(store, fw.CONFIG, fw.STREAM, "slow"):
        pass
    fw.expire(store, 0)
    assert [m.consumer for m in store.cursors.missed(fw.CONFIG.name)] == ["slow"]
    kinds = {d.kind for d in Reader(store, fw.CONFIG, fw.STREAM).after(0)}
    assert kinds == {"missed", "expire"}


@pytest.mark.parametrize("step", STEPS)
def test_a_removal_killed_at_any_step_is_finished_or_begun_again(tmp_path: Path, step: str) -> None:
    home = tmp_path / "home"
    with Store.at(at.new_home(home)) as store:
        fw.write(store, {0: 0.5, 24: 0.5}, fw.span(0, 25))
        fw.write(store, {0: 0.9}, fw.span(0, 1))
    with at.at_work(_die_expiring, (home, step)) as (process,):
        pass
    assert process.exitcode == -signal.SIGKILL
    with Store.at(at.new_home(home)) as store:
        is_gone = step == "written"
        stands = fw.healths_of(store.lake.read(FLEET_KPI, fw.CONFIG.name, fw.span(0, 48)))
        assert stands == ({24: 0.5} if is_gone else {0: 0.9, 24: 0.5})
        kinds = [e.kind for e in store.history.entries(FLEET_KPI.name, fw.CONFIG.name)]
        assert kinds.count("expire") == is_gone
        if not is_gone:
            fw.expire(store, 0)
        known = store.history.coverage.covered(FLEET_KPI.name, fw.CONFIG.name, fw.span(0, 48))
        assert [c.span for c in known] == [fw.span(24, 25)]
        assert store.lake.count(superseded(FLEET_KPI), fw.CONFIG.name, [fw.day(0)]) == 0


def _die_expiring(home: Path, step: str) -> None:
    def checkpoint(passed: str) -> None:
        if passed == step:
            os.kill(os.getpid(), signal.SIGKILL)

    with Store.at(at.new_home(home), checkpoint=checkpoint) as store:
        fw.expire(store, 0)


def test_what_has_expired_is_computed_again_where_telemetry_stands(tmp_path: Path) -> None:
    """Site rows are kept for five weeks, telemetry for three months: an old day whose settings change is computed anew."""
    config, span = at.coarse(), at.days(0, 2)
    with Store.at(at.new_home(tmp_path / "home")) as store:
        at.land(store, config, at.telemetry(2, step_s=600), batch_id="all")
        at.refresh_all(store, config, span)
        expected = at.rows_of(store, SITE_KPI), at.rows_of(store, FLEET_KPI)
        pretend_written(store, at.FIRST)
        assert removed(store, span.end + 36 * DAY)["site_kpi"].days == ("2026-01-01", "2026-01-02")
        assert at.rows_of(store, SITE_KPI).empty
        currency = Currency(store.registry.fleet(config), store.history)
        assert currency.stale(FLEET_KPI, span) == []
        recomputed = Refresh(store, config, recompute=True).fleet_aggregator(span)
        assert [o.rows_written for o in recomputed] == [0, 0]
        assert currency.stale(SITE_KPI, span) == [span]
        at.refresh_all(store, config, span)
        for found, before in zip(
            (at.rows_of(store, SITE_KPI), at.rows_of(store, FLEET_KPI)), expected, strict=True
        ):
            assert found.equals(before)


def test_days_whose_telemetry_is_gone_too_are_left_alone(tmp_path: Path) -> None:
    config, span = at.coarse(), at.days(0, 2)
    with Store.at(at.new_home(tmp_path / "home")) as store:
        at.land(store, config, at.telemetry(2, step_s=600), batch_id="all", received_at=at.FIRST)
        at.refresh_all(store, config, span)
        pretend_written(store, at.FIRST)
        done = removed(store, span.end + 200 * DAY)
        assert done["site_telemetry"].days[:2] == ("2026-01-01", "2026-01-02")
        assert not at.rows_of(store, FLEET_KPI).empty
        for table in (SITE_KPI, ANOMALY_SCORE):
            assert at.rows_of(store, table).empty
        before = at.rows_of(store, FLEET_KPI)
        assert sum(o.rows_written for o in Refresh(store, config).everything(span)) == 0
        with pytest.raises(ExpiredError, match="has expired"):
            Refresh(store, config, recompute=True).site_ingest(span)
        assert at.rows_of(store, FLEET_KPI).equals(before)


def test_what_is_read_of_an_expired_day_is_computed_while_its_telemetry_stands(
    tmp_path: Path,
) -> None:
    """Site rows went before; the first windows of the next day look back at it, and must not find an empty fleet there."""
    config, next_day = at.coarse(), at.days(4, 5)
    with Store.at(at.new_home(tmp_path / "home")) as store:
        at.land(store, config, at.telemetry(5, step_s=600), batch_id="all", received_at=at.FIRST)
        at.refresh_all(store, config, at.days(0, 5))
        before = at.rows_of(store, ANOMALY_SCORE)
        _expire_day(store, config, at.days(3, 4), n_removed=0)
        recomputed = Refresh(store, config, recompute=True).anomaly_scorer(next_day)
        assert [o.rows_written for o in recomputed] == [0]
        assert at.rows_of(store, ANOMALY_SCORE).equals(before)
        assert Refresh(store, config).site_ingest(at.days(3, 4))[0].rows_written == 0


def test_nothing_is_computed_from_what_is_gone(tmp_path: Path) -> None:
    """Neither site rows nor telemetry of the day before are left: what stands stays, and who asks for more is told."""
    config, next_day = at.coarse(), at.days(4, 5)
    with Store.at(at.new_home(tmp_path / "home")) as store:
        at.land(store, config, at.telemetry(5, step_s=600), batch_id="all", received_at=at.FIRST)
        at.refresh_all(store, config, at.days(0, 5))
        before = at.rows_of(store, ANOMALY_SCORE)
        _expire_day(store, config, at.days(3, 4), n_removed=100)
        with pytest.raises(ExpiredError, match="2026-01-04"):
            Refresh(store, config, recompute=True).anomaly_scorer(next_day)
        assert at.rows_of(store, ANOMALY_SCORE).equals(before)
        assert sum(o.rows_written for o in Refresh(store, config).everything(next_day)) == 0


def _expire_day(store: Store, config: FleetConfig, day: Span, *, n_removed: int) -> None:
    """Remove a day's site rows; log that its telemetry has expired, and that so many snapshots were removed."""
    entry = Entry(SITE_TELEMETRY.name, config.name, day, 0, EXPIRE, "", 0, "", "", "")
    with store.control.transaction() as tx:
        store.history.record(tx, [entry])
        if n_removed:
            store.history.record(tx, [replace(entry, n_rows=n_removed)])
    with store.door.hold([SITE_KPI], config.name, day) as holder:
        store.door.expire(SITE_KPI, config.name, day, holder=holder)


def test_everything_goes_in_the_end(tmp_path: Path) -> None:
    config, span = at.coarse(), at.days(0, 2)
    with Store.at(at.new_home(tmp_path / "home")) as store:
        at.land(store, config, at.telemetry(2, step_s=600), batch_id="all", received_at=at.FIRST)
        at.refresh_all(store, config, span)
        pretend_written(store, at.FIRST)
        removed(store, FAR)
        done = removed(store, FAR + DAY)
        for table in derived_tables():
            assert at.rows_of(store, table).empty, table.name
        assert store.lake.days(SITE_TELEMETRY, config.name) == []
        assert all(one.days == () for one in done.values())


@pytest.mark.parametrize("kept", [{"fleet_kpi": 13}, {"fleet_kpis": 30}, {"site_telemetry": 30}])
def test_a_retention_that_cannot_be_is_refused(kept: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match=next(iter(kept))):
        at.plant(retention=kept)
