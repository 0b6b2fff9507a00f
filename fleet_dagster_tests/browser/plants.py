"""Fleets for the browser: computed up to the minute, of a thousand sites, silent, old, in a storm, and without any window."""

import datetime as dt
import functools
import time
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from fleet_dagster.core.windows import HOUR, MINUTE, Span
from fleet_dagster.ingest.simulator import demo_config
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.storms import StormEpisode
from fleet_dagster.model.tables import FLEET_KPI
from fleet_dagster.refresh.refresh import Refresh
from fleet_dagster.storage.clock import now_us
from fleet_dagster.storage.status import newest_end
from fleet_dagster.storage.store import Store
from fleet_dagster_tests import installations as at
from fleet_dagster_tests import storms
from fleet_dagster_tests.incidents import change, record, stamp

N_WINDOWS = 8
"""Windows that stand of each fleet. Their schedule is slow, so that they stay new for as long as the tests take."""
SIZES: Mapping[str, tuple[int, int]] = {
    "big": (1000, 20),
    "empty": (6, 2),
    "old": (6, 2),
    "plant": (24, 4),
    "silent": (6, 2),
    "stormy": (40, 2),
}
"""Sites and regions of each fleet."""
_AGES = {"old": 5 * HOUR}
_INCIDENT_SITES = ["MX-0001", "MX-0002", "MX-0003"]


@functools.cache
def config_of(fleet: str) -> FleetConfig:
    """Return a fleet's settings, with windows of a minute."""
    return FleetConfig.model_validate(_content(fleet))


def build(home: Path, fleets: Path) -> None:
    """Make an installation with every fleet."""
    at.new_home(home)
    fleets.mkdir(parents=True)
    with Store.at(home) as store:
        for fleet in SIZES:
            text = yaml.safe_dump(_content(fleet), sort_keys=False)
            (fleets / f"{fleet}.yaml").write_text(text, encoding="utf-8")
            store.registry.apply(config_of(fleet))
            if fleet != "empty":
                _fill(store, fleet)
        _incident(store)


def add_window(home: Path, fleet: str, *, faulted: Collection[str] = ()) -> str:
    """Land and compute a fleet's next window, some of its sites faulted; returns the window's end as the page tells it."""
    config = config_of(fleet)
    with Store.at(home) as store:
        start = _next(store, fleet)
        _land(store, config, start, [0], faulted=faulted)
        Refresh(store, config).everything(Span(start, start + MINUTE))
    return f"{stamp(start + MINUTE):%Y-%m-%d %H:%M:%S}"


def _fill(store: Store, fleet: str) -> None:
    config = config_of(fleet)
    end = now_us() // MINUTE * MINUTE - MINUTE - _AGES.get(fleet, 0)
    start = end - N_WINDOWS * MINUTE
    span = Span(start, end)
    if fleet == "stormy":
        store.storms.record(
            fleet, [StormEpisode.of(start + 2 * MINUTE, cause="a test of sirens")], by="operator"
        )
    minutes = range(N_WINDOWS)
    _land(store, config, start, minutes if fleet != "silent" else minutes[:2])
    Refresh(store, config).everything(span)


def _land(
    store: Store,
    config: FleetConfig,
    start: int,
    minutes: Iterable[int],
    *,
    faulted: Collection[str] = (),
) -> None:
    """Land a snapshot of each site in each minute after an instant [us]."""
    rows = storms.snapshots(config, start, minutes, rough=())
    if faulted:
        sites = rows.column("site_id").to_pylist()
        status = pa.array(["2" if site in faulted else "0" for site in sites])
        rows = rows.set_column(rows.schema.get_field_index("status"), "status", status)
    at.land(store, config, rows, batch_id=f"{config.name}-{start}")


def _incident(store: Store) -> None:
    """Write an open incident of three sites into the newest window of the plant, where simulated minutes bring none."""
    window = _next(store, "plant") - MINUTE
    record(
        store,
        change(
            "incident-one",
            window,
            severity="critical",
            pattern="cascade",
            domain="thermal",
            sites=_INCIDENT_SITES,
            regions=["region-01"],
            root_cause_site=_INCIDENT_SITES[0],
            root_cause_kpi="process_temp_c",
            candidates=_INCIDENT_SITES[:2],
        ),
    )


def _next(store: Store, fleet: str) -> int:
    """Return the end of a fleet's newest window [us]."""
    newest = newest_end(store, FLEET_KPI, fleet)
    assert newest is not None
    return newest


def _content(fleet: str) -> dict[str, Any]:  # Any: the content of a YAML file
    n_sites, n_regions = SIZES[fleet]
    today = dt.datetime.fromtimestamp(time.time() - 86_400, tz=dt.UTC).date()
    content = demo_config(fleet, "mixed", n_sites=n_sites, n_regions=n_regions, start_date=today)
    return {
        **content,
        "kpis": content["kpis"][: at.N_KPIS],
        "interval_s": 60,
        "schedule_minutes": 30,
    }
