"""Which site-windows large fleets publish, decided from a baseline."""

from typing import Any

import numpy as np
import pandas as pd

from fleet_dagster.core.windows import DAY, MINUTE, Span
from fleet_dagster.frames import columns as frames
from fleet_dagster.frames.window_inputs import modes_of
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.model.storms import StormEpisode
from fleet_dagster.model.tables import BASELINE, INGESTION_MODES
from fleet_dagster.nodes.region_mapper import region_mapper
from fleet_dagster.nodes.site_ingest import site_ingest
from fleet_dagster_tests import fleets
from fleet_dagster_tests.fleets import MIDNIGHT, NOON

N_SITES = 201
SITES = tuple(f"S-{i:03d}" for i in range(N_SITES))
SPAN = Span(NOON, NOON + 20 * MINUTE)


def fleet(n_sites: int = N_SITES, **changes: Any) -> Fleet:
    mappings = [{"site_id": s, "region_id": "R"} for s in SITES[:n_sites]]
    return Fleet.of(
        fleets.config(region_mappings=mappings, profile="large", interval_s=60, **changes)
    )


def baseline(*sites: str, state: str = "trained", day: int = MIDNIGHT) -> pd.DataFrame:
    """Return baselines of sites: every KPI centred at 0.5, one scaled MAD of 0.01; of a training day."""
    n = len(sites)
    columns: dict[str, Any] = {
        name: np.full(n, {"centre": 0.5, "scale_": 0.01}[name[:6]], dtype=np.float32)
        for name in BASELINE.column_names
        if name.startswith(("centre_", "scale_"))
    }
    return frames.frame_of(
        BASELINE,
        {
            **columns,
            "window_start": frames.stamps(np.full(n, day)),
            "window_end": frames.stamps(np.full(n, day + DAY)),
            "scope": np.array(["site"] * n, dtype=object),
            "scope_id": np.array(sites, dtype=object),
            "n_windows": np.full(n, 900, dtype=np.int32),
            "state": np.array([state] * n, dtype=object),
            "mad": np.full(n, np.nan),
            "message_rate": np.full(n, np.nan),
            "n_hours": np.full(n, 96, dtype=np.int32),
        },
    )


def dispositions(own: Fleet, trained: pd.DataFrame, **of_first: float) -> dict[str, set[str]]:
    """Return how each site's windows are disposed of; all are at the centre, but for the first site's readings."""
    stamps = np.arange(SPAN.start - 5 * MINUTE, SPAN.end, MINUTE)
    site, stamp = (a.ravel() for a in np.meshgrid(np.arange(len(own.sites)), stamps))
    frame = pd.DataFrame(
        {
            "site_id": np.array(SITES, dtype=object)[site],
            "timestamp": fleets.utc(stamp),
            "output_kw": 256.0,
            "vibration": 5.0,
            "bearing_c": 70.0,
        }
    )
    for name, value in of_first.items():
        frame.loc[frame["site_id"] == SITES[0], name] = value
    landed = fleets.landed(own.config, frame)
    rows = site_ingest(own, landed, region_mapper(own, SPAN), trained, SPAN).site_kpi
    plain = fleets.plain(rows)
    return {str(name): set(group["disposition"]) for name, group in plain.groupby("site_id")}


QUIET = {"quiet", "heartbeat"}


def test_sites_at_their_baseline_are_quiet_but_for_their_heartbeat() -> None:
    found = dispositions(fleet(), baseline(*SITES))
    assert all(kinds == QUIET for kinds in found.values())


def test_a_site_further_from_its_baseline_than_the_threshold_is_published() -> None:
    # One scaled MAD of output is 0.01 x 512 kW.
    within = dispositions(fleet(), baseline(*SITES), output_kw=256 + 2.9 * 5.12)
    beyond = dispositions(fleet(), baseline(*SITES), output_kw=256 - 3.1 * 5.12)
    assert within[SITES[0]] == QUIET
    assert beyond[SITES[0]] == {"deviating"}
    assert all(beyond[site] == QUIET for site in SITES[1:])


def test_the_threshold_is_a_setting() -> None:
    found = dispositions(fleet(deviation_sigma=5.0), baseline(*SITES), output_kw=256 + 3.1 * 5.12)
    assert found[SITES[0]] == QUIET


def test_a_site_without_a_trained_baseline_is_published() -> None:
    found = dispositions(fleet(), baseline(*SITES[1:]))
    assert found[SITES[0]] == {"deviating"}
    warming_up = pd.concat([baseline(SITES[0], state="warming_up"), baseline(*SITES[1:])])
    found = dispositions(fleet(), warming_up)
    assert found[SITES[0]] == {"deviating"}
    assert found[SITES[1]] == QUIET


def test_before_any_baseline_everything_is_published() -> None:
    found = dispositions(fleet(), fleets.UNTRAINED)
    assert all(kinds == {"deviating"} for kinds in found.values())
    of_another_day = dispositions(fleet(), baseline(*SITES, day=MIDNIGHT - DAY))
    assert all(kinds == {"deviating"} for kinds in of_another_day.values())


def test_a_fleet_of_two_hundred_does_not_look_at_the_baseline() -> None:
    found = dispositions(fleet(200), baseline(*SITES), output_kw=500.0)
    assert all(kinds == {"quiet", "downsampled"} for kinds in found.values())


def test_the_mode_follows_sites_as_they_are_registered_and_storms_as_they_are_recorded() -> None:
    late = {"valid_from": fleets.utc(NOON + 4 * MINUTE).isoformat()}
    mappings = [
        {"site_id": s, "region_id": "R", **(late if i == 50 else {})}
        for i, s in enumerate(SITES[:51])
    ]
    config = fleets.config(region_mappings=mappings, profile="medium")
    storms = [StormEpisode.of(NOON + 6 * MINUTE, NOON + 8 * MINUTE)]
    modes = modes_of(Fleet.of(config, storms=storms), Span(NOON, NOON + 10 * MINUTE))
    named = [INGESTION_MODES[mode] for mode in modes]
    calm = ["downsample_healthy"] * 2
    assert named == ["full"] * 4 + calm + ["storm"] * 2 + calm
