from pathlib import Path

from fleet_dagster.core.windows import DAY, HOUR, Span
from fleet_dagster.live.events import Kind
from fleet_dagster.model.tables import FLEET_KPI
from fleet_dagster.refresh.due import owed
from fleet_dagster.refresh.refresh import Refresh
from fleet_dagster.storage.store import Store
from fleet_dagster_tests import installations as at
from fleet_dagster_tests.live.days import (
    CONFIG,
    Arrivals,
    Hands,
    Said,
    engine_at,
    running,
    wait_current,
)

STEP = HOUR // 2


def test_a_day_kept_live_gives_the_rows_of_one_quiet_run_and_leaves_the_schedule_nothing(
    tmp_path: Path,
) -> None:
    """Snapshots land as they arrive, some late; the third day begins with a baseline."""
    home, arrivals, said = at.new_home(tmp_path / "home"), Arrivals(3), Said()
    start, end = at.FIRST + 2 * DAY - 3 * HOUR, at.FIRST + 2 * DAY + 3 * HOUR
    hands = Hands(start)
    with Store.at(home) as store:
        arrivals.land(store, Span(0, start))
        at.refresh_all(store, CONFIG, Span(at.FIRST, start - 4 * HOUR))
        with running(engine_at(home, hands, said)) as engine:
            wait_current(engine)
            for step in Span(start, end).steps(STEP):
                arrivals.land(store, step)
                hands.now = step.end
                wait_current(engine)
        assert not said.of(Kind.TROUBLE), said.of(Kind.TROUBLE)
        assert not said.of(Kind.LEFT_OUT), said.of(Kind.LEFT_OUT)[0].figures
        assert owed(store, CONFIG, end).spans == ()
        before = store.history.last_number()
        whole = Span(at.FIRST, end)
        assert not any(o.rows_written for o in Refresh(store, CONFIG).everything(whole))
        assert store.history.size(FLEET_KPI.name, at.NAME, after=before)[0] == 0
        at.assert_same_tables(at.tables_of(store), at.recomputed(store, CONFIG, whole))
