import threading
from pathlib import Path

import pytest

from fleet_dagster.core.windows import DAY, HOUR, Span
from fleet_dagster.model.tables import QUARANTINE, SITE_KPI
from fleet_dagster.refresh.due import owed
from fleet_dagster.storage.maintenance import compact
from fleet_dagster.storage.store import Store
from fleet_dagster.streams.retention import Retention
from fleet_dagster_tests import installations as at
from fleet_dagster_tests import worker
from fleet_dagster_tests.live.days import (
    CONFIG,
    Arrivals,
    Hands,
    Said,
    engine_at,
    running,
    wait_current,
)

OLD = at.days(0, 1)
KEPT = at.plant(interval_s=1800, staleness_threshold_s=2400, retention={SITE_KPI.name: 14})


def test_live_backfills_late_data_compaction_and_retention_at_once_give_the_rows_of_a_quiet_run(
    tmp_path: Path,
) -> None:
    everything_at_once(tmp_path, at.days(21, 22), n_backfills=2, hours=2)


@pytest.mark.slow
def test_a_day_live_beside_eight_backfills_and_all_upkeep_gives_the_rows_of_a_quiet_run(
    tmp_path: Path,
) -> None:
    everything_at_once(tmp_path, at.days(20, 22), n_backfills=8, hours=24)


def everything_at_once(folder: Path, new: Span, *, n_backfills: int, hours: int) -> None:
    """Keep the last hours of a fleet live while everything else is at work too, and compare with a quiet run."""
    home, arrivals, said = at.new_home(folder / "home"), Arrivals(22), Said()
    start = new.end - hours * HOUR
    hands, over = Hands(start), threading.Event()
    with Store.at(home) as store:
        arrivals.land(store, Span(OLD.start, OLD.end + HOUR))
        at.refresh_all(store, CONFIG, OLD)
        with store.control.transaction() as tx:  # what was written so far was written long ago
            tx.exec_driver_sql("UPDATE commit_log SET recorded_at = 0")
        arrivals.land(store, Span(new.start, start))
        at.refresh_all(
            store, CONFIG, Span(at.days(14, 15).start, new.start)
        )  # nobody sent anything
        control = store.control.engine.url.render_as_string(hide_password=False)
        first, end = ((t - at.FIRST) // DAY for t in (new.start, new.end))
        shares = [(store.lake.root, control, 1800, seed, first, end) for seed in range(n_backfills)]
        upkeep = threading.Thread(target=_tidy, args=(home, hands, over))
        with at.at_work(worker.refresh, *shares) as backfills:
            upkeep.start()
            with running(engine_at(home, hands, said)) as engine:
                for n, step in enumerate(Span(start, new.end).steps(HOUR)):
                    arrivals.land(store, step)
                    stamp = new.start + n * HOUR + 1
                    late = at.snapshots("MX-0003", [stamp], CONFIG, received=step.end, share=0.9)
                    at.land(store, CONFIG, late, batch_id=f"late-{n}", received_at=step.end)
                    hands.now = step.end
                    wait_current(engine)
                for backfill in backfills:
                    backfill.join(600)
                wait_current(engine)
            over.set()
            upkeep.join()
        assert [b.exitcode for b in backfills] == [0] * n_backfills
        assert not [str(e) for e in said.events if "traceback" in e.figures]
        assert owed(store, CONFIG, new.end).spans == ()
        found = at.tables_of(store, new)
        assert len(at.rows_of(store, SITE_KPI, OLD)) == 0
        assert len(at.rows_of(store, QUARANTINE, OLD)) > 0
        at.recomputed(store, CONFIG, new)
        with Store.at(home / "fresh") as quiet:
            assert at.assert_same_tables(found, at.tables_of(quiet, new)) > 0


def _tidy(home: Path, hands: Hands, over: threading.Event) -> None:
    """Compact the lake, and remove what retention is over for, again and again."""
    with Store.at(home) as store:
        while not over.is_set():
            Retention(store, KEPT, hands.now).run()
            compact(store, vacuum_hours=168)
