from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest
import sqlalchemy as sa

from fleet_dagster.core.windows import DAY, HOUR, MINUTE, SECOND, Span
from fleet_dagster.model.errors import SourceError
from fleet_dagster.model.tables import SITE_KPI, SITE_TELEMETRY
from fleet_dagster.refresh.currency import Currency
from fleet_dagster.storage.arrow import schema_of
from fleet_dagster.storage.control.schema import landing_batches
from fleet_dagster.storage.store import Store
from fleet_dagster_tests import installations as at

CONFIG = at.plant(n_sites=3)
SITE = "MX-0001"


def one_day(site: str = SITE, *, day: int = 0, n: int = 5) -> pa.Table:
    stamps = [at.FIRST + day * DAY + i * HOUR for i in range(n)]
    return at.snapshots(site, stamps, CONFIG)


def test_a_batch_lands_once_whatever_its_key_is_used_for_again(store: Store) -> None:
    first = at.land(store, CONFIG, one_day(), batch_id="b1", key="k")
    again = at.land(store, CONFIG, one_day(day=3), batch_id="b2", key="k")
    assert first.is_new
    assert not again.is_new
    assert (again.batch_id, again.n_rows) == ("b1", 5)
    assert len(at.rows_of(store, SITE_TELEMETRY)) == 5
    assert [b[1] for b in at.books(store)["landing_batches"]] == ["b1"]


def test_two_fleets_may_land_the_same_file(store: Store) -> None:
    other = at.plant(n_sites=3, name="other")
    assert at.land(store, CONFIG, one_day(), batch_id="b1", key="k").is_new
    assert at.land(store, other, one_day(), batch_id="b1", key="k").is_new
    assert len(at.rows_of(store, SITE_TELEMETRY)) == 5
    assert len(at.rows_of(store, SITE_TELEMETRY, fleet="other")) == 5


def test_one_key_landed_by_many_at_once_lands_once(tmp_path: Path) -> None:
    def once(_attempt: int) -> bool:
        with Store.at(at.new_home(tmp_path / "home")) as own:
            return at.land(own, CONFIG, one_day(), batch_id="b1", key="k").is_new

    with Store.at(at.new_home(tmp_path / "home")) as store, ThreadPoolExecutor(6) as threads:
        assert sorted(threads.map(once, range(6))) == [False] * 5 + [True]
        assert len(at.rows_of(store, SITE_TELEMETRY)) == 5
        assert len(store.history.entries(SITE_TELEMETRY.name, at.NAME)) == 1


def test_a_batch_id_cannot_be_used_for_two_keys(store: Store) -> None:
    at.land(store, CONFIG, one_day(), batch_id="b1", key="k1")
    with pytest.raises(SourceError, match="'b1' was landed under another idempotency key"):
        at.land(store, CONFIG, one_day(), batch_id="b1", key="k2")
    assert len(at.rows_of(store, SITE_TELEMETRY)) == 5


@pytest.mark.parametrize(
    ("batch_id", "key"), [("", "k"), ("b" * 65, "k"), ("b", "k" * 129), ("b'", "k")]
)
def test_names_that_the_books_cannot_hold_are_refused_before_anything_is_written(
    store: Store, batch_id: str, key: str
) -> None:
    version = store.lake.version(SITE_TELEMETRY)
    rows = schema_of(SITE_TELEMETRY).empty_table()
    with pytest.raises(SourceError, match="allowed are 1 to"):
        store.landing.append(
            at.NAME, rows, batch_id=batch_id, idempotency_key=key, source="s", historical=False
        )
    assert store.lake.version(SITE_TELEMETRY) == version


def test_an_empty_batch_is_booked_and_touches_no_window(store: Store) -> None:
    rows = schema_of(SITE_TELEMETRY).empty_table()

    def land() -> bool:
        batch = store.landing.append(
            at.NAME, rows, batch_id="b1", idempotency_key="k", source="s", historical=False
        )
        return batch.is_new

    assert [land(), land()] == [True, False]
    assert store.history.entries(SITE_TELEMETRY.name, at.NAME) == []
    assert store.landing.find(at.NAME, "k") is not None


def test_the_books_say_how_many_rows_are_usable(store: Store) -> None:
    raw = pa.concat_tables([one_day(n=4), at.snapshots("", [at.FIRST], CONFIG)])
    batch = at.land(store, CONFIG, raw, batch_id="b1", historical=True)
    assert (batch.n_rows, batch.n_unusable) == (5, 1)
    with store.control.reading() as tx:
        row = tx.execute(sa.select(landing_batches)).one()
    assert (row.fleet, row.n_rows, row.n_unusable, row.historical) == (at.NAME, 5, 1, True)


def test_each_stretch_of_a_batch_is_one_entry_from_first_to_last_snapshot(store: Store) -> None:
    stamps = [at.FIRST + HOUR, at.FIRST + 5 * HOUR, at.FIRST + DAY, at.FIRST + 9 * DAY + SECOND]
    at.land(store, CONFIG, at.snapshots(SITE, stamps, CONFIG), batch_id="b1")
    entries = store.history.entries(SITE_TELEMETRY.name, at.NAME)
    assert [(e.span, e.n_rows, e.kind, e.digest) for e in entries] == [
        (Span(t, t + 1), 1, "append", "b1") for t in stamps
    ]
    assert [e.landing for e in entries] == [stamps[0]] * 4
    assert store.history.landing_version(at.NAME) == 4
    assert store.history.newest_landed(at.NAME) == stamps[3] + 1


def test_only_a_whole_empty_hour_or_midnight_parts_a_batch(store: Store) -> None:
    first, second = at.FIRST + 59 * MINUTE, at.FIRST + 2 * HOUR - 1
    third, fourth = at.FIRST + 3 * HOUR, at.FIRST + DAY - 1
    stamps = [third, fourth + 1, first, second, fourth]
    at.land(store, CONFIG, at.snapshots(SITE, stamps, CONFIG), batch_id="b1")
    entries = store.history.entries(SITE_TELEMETRY.name, at.NAME)
    assert [(e.span, e.n_rows) for e in entries] == [
        (Span(first, second + 1), 2),
        (Span(third, third + 1), 1),
        (Span(fourth, fourth + 1), 1),
        (Span(fourth + 1, fourth + 2), 1),
    ]


def test_late_snapshots_at_both_ends_of_a_day_leave_its_middle_current(store: Store) -> None:
    at.land(store, CONFIG, at.telemetry(1, n_sites=3), batch_id="b1")
    at.refresh_all(store, CONFIG, at.days(0, 1))
    late = [at.FIRST + 5 * MINUTE, at.FIRST + DAY - 10 * MINUTE]
    at.land(store, CONFIG, at.snapshots(SITE, late, CONFIG), batch_id="b2")
    currency = Currency(store.registry.fleet(CONFIG), store.history)
    assert currency.stale(SITE_KPI, at.days(0, 1)) == [
        Span(at.FIRST, at.FIRST + 10 * MINUTE),
        Span(at.FIRST + DAY - 10 * MINUTE, at.FIRST + DAY),
    ]


def test_history_counts_as_received_before_everything(store: Store) -> None:
    at.land(store, CONFIG, one_day(), batch_id="b1", historical=True)
    (entry,) = store.history.entries(SITE_TELEMETRY.name, at.NAME)
    assert entry.landing == 0


def test_a_site_belongs_to_the_fleet_from_the_window_of_its_first_snapshot(store: Store) -> None:
    late = at.FIRST + 3 * DAY + 90 * SECOND
    at.land(store, CONFIG, at.snapshots("X-1", [late, late + HOUR], CONFIG), batch_id="b1")
    assert active_from(store, "X-1") == at.FIRST + 3 * DAY
    early = at.FIRST + DAY + 1
    at.land(store, CONFIG, at.snapshots("X-1", [early], CONFIG), batch_id="b2")
    assert active_from(store, "X-1") == at.FIRST + DAY
    at.land(store, CONFIG, at.snapshots("X-1", [late], CONFIG), batch_id="b3")
    assert active_from(store, "X-1") == at.FIRST + DAY
    assert active_from(store, SITE) == 0


def test_a_site_beyond_the_profile_is_quarantined_and_not_registered(store: Store) -> None:
    stamps = [at.FIRST + HOUR]
    strangers = [at.snapshots(f"X-{i:02d}", stamps, CONFIG) for i in range(48)]
    batch = at.land(store, CONFIG, pa.concat_tables(strangers), batch_id="b1")
    assert (batch.n_rows, batch.n_unusable) == (48, 1)
    rows = at.rows_of(store, SITE_TELEMETRY)
    unusable = rows[rows["problem"].notna()]
    assert list(unusable["problem"]) == ["site_beyond_profile"]
    (detail,) = unusable["detail"]
    assert "small" in detail
    assert "medium" in detail
    assert len(store.registry.fleet(CONFIG).sites) == 50


def test_sites_registered_by_many_at_once_are_numbered_without_gap(tmp_path: Path) -> None:
    def register(i: int) -> None:
        with Store.at(at.new_home(tmp_path / "home")) as own:
            seen = [(f"X-{(i + k) % 12:02d}", at.FIRST) for k in range(6)]
            assert {site for site, _ in seen} <= own.registry.admit(CONFIG, seen)

    with Store.at(at.new_home(tmp_path / "home")) as store, ThreadPoolExecutor(6) as threads:
        store.registry.apply(CONFIG)
        list(threads.map(register, range(12)))
        sites = store.registry.fleet(CONFIG).sites
    assert [s.site_no for s in sites] == list(range(15))
    assert [s.site_id for s in sites[:3]] == ["MX-0001", "MX-0002", "MX-0003"]


def active_from(store: Store, site_id: str) -> int:
    return {s.site_id: s.active_from for s in store.registry.fleet(CONFIG).sites}[site_id]
