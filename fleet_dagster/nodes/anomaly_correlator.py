"""`anomaly_correlator`: which anomalies belong together, since when, how sure that is, and where they began."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from fleet_dagster.core.episodes import Anomalies
from fleet_dagster.core.incident_record import Change
from fleet_dagster.core.incidents import PlaceOf, Replay
from fleet_dagster.core.neighbourhood import neighbourhood
from fleet_dagster.core.windows import DAY, HOUR, Span, floor_to
from fleet_dagster.frames import columns as frames
from fleet_dagster.frames.anomalies import (
    Places,
    anomalies_of,
    domains_of,
    incident_frame,
    kpis_of,
)
from fleet_dagster.frames.score_frames import (
    checked_scores,
    checked_sites,
    interval_of,
    known_rates,
)
from fleet_dagster.frames.surroundings import Surroundings
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.model.lookbacks import INCIDENT_HISTORY_DAYS, incident_lookback


def anomaly_correlator(
    fleet: Fleet, anomaly_score: pd.DataFrame, models: pd.DataFrame, span: Span
) -> pd.DataFrame:
    """Correlate the anomalies of `span`: one row per incident and window in which it opens, changes, merges or closes.

    `anomaly_score` holds at least the anomalous rows since `incident_lookback` before the span (others are passed over);
    `models` those of `BASELINE_MODEL` of every training day in force from there on: how often alarms have begun.
    """
    before = incident_lookback(fleet, span.start, span.end)
    around = Surroundings(fleet, models, span.widen(before=before))
    scores = frames.within(anomaly_score, around.span)
    places = Places(
        sites=tuple(site.site_id for site in fleet.sites),
        regions=around.regions,
        domains=domains_of(scores),
        kpis=kpis_of(scores),
    )
    found = anomalies_of(scores, places, fleet.interval)
    changes = list(
        _changes(found, len(places.domains), span, interval=fleet.interval, place_of=around.at)
    )
    return incident_frame(changes, places, fleet=fleet.name, interval=fleet.interval)


def correlate_anomalies(
    scores: pd.DataFrame,
    sites: pd.DataFrame,
    *,
    history: pd.DataFrame | None = None,
    fleet: str = "fleet",
    interval_s: int | None = None,
) -> pd.DataFrame:
    """Correlate anomaly scores into incidents, without a fleet's configuration; what the node of a fleet does, on plain frames.

    `scores` has a row per site, domain and window: site_id, window_start (UTC), score, is_anomalous; optionally domain
    ('all' where absent), onset (else the row's own window), top_kpis and top_shares (lists: which KPIs deviate). `sites`
    has site_id, region_id and optionally depends_on: a list of the sites that its faults come from. `history`
    says how often alarms of sites have begun before: site_id, n_onsets, exposure_h; a site without it is taken to have
    alarmed half a time in 28 days. `interval_s` is the length of a window; without it, the least distance of two
    windows. Returns rows of the table `fleet_correlation`; incident ids depend on `fleet`.

    Raises
    ------
    FrameError
        A column is missing, a site is unknown or doubled, a row is doubled, an anomalous row has no score, or window
        starts are no whole windows in UTC.
    """
    known = checked_sites(sites)
    table = checked_scores(scores, known)
    interval = interval_of(table, interval_s)
    if table.empty:
        return incident_frame([], Places((), (), (), ()), fleet=fleet, interval=interval)
    regions = tuple(sorted(set(known.region_of)))
    places = Places(known.names, regions, domains_of(table), kpis_of(table))
    number = {name: i for i, name in enumerate(regions)}
    region = np.array([number[name] for name in known.region_of], dtype=np.int64)
    place = neighbourhood(region, known.edges, known_rates(known, history))
    starts = frames.microseconds(table["window_start"])
    span = Span(int(starts.min()), int(starts.max()) + interval)
    found = anomalies_of(table, places, interval)
    changes = list(
        _changes(
            found, len(places.domains), span, interval=interval, place_of=lambda _window: place
        )
    )
    return incident_frame(changes, places, fleet=fleet, interval=interval)


def _changes(
    anomalies: Anomalies, n_domains: int, span: Span, *, interval: int, place_of: PlaceOf
) -> Iterator[Change]:
    """Yield what happens to incidents in the windows of `span`, UTC day by UTC day."""
    for part in span.days():
        day = floor_to(part.start, DAY)

        def replay(since: int, until: int) -> Replay:
            first, end = since // interval, until // interval
            rows = anomalies.since(first, end)
            return Replay(rows, first, place_of, HOUR // interval, n_domains)

        history = INCIDENT_HISTORY_DAYS * DAY
        today = replay(day - history, part.end)
        today.run_to(day // interval)
        if today.open_sites():
            yesterday = replay(day - DAY - history, day)
            yesterday.run_to(day // interval)
            today.continue_from(yesterday)
        today.run_to(part.end // interval)
        yield from (c for c in today.changes if c.window >= part.start // interval)
