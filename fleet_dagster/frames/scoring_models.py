"""The model that each site is compared with in one hour, as arrays over the site axis."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fleet_dagster.core.reconstruction import Spectrum
from fleet_dagster.core.sampling import training_day_in_force
from fleet_dagster.core.scoring import DomainModels
from fleet_dagster.core.windows import Span
from fleet_dagster.frames import columns as frames
from fleet_dagster.frames.baseline_models import domains_of
from fleet_dagster.model.config import RegionMapping
from fleet_dagster.model.fleet import Fleet, mappings_as_of
from fleet_dagster.model.lookbacks import STACKED_WINDOWS
from fleet_dagster.model.tables import ALL_DOMAINS, UNMAPPED

Floats = NDArray[np.float32]
Row = Mapping[str, Any]  # Any: a row of `baseline_model`


@dataclass(frozen=True, slots=True)
class HourModels:
    """What the sites are compared with in one hour; `version` is a position in `versions`, -1 for a site without a model."""

    domains: tuple[DomainModels, ...]
    is_warming_up: NDArray[np.bool_]
    version: NDArray[np.int64]
    versions: tuple[str, ...]


class ModelBook:
    """Looks up what the sites of a fleet are compared with, hour by hour; hours with the same choice share the arrays."""

    def __init__(self, fleet: Fleet, baseline_model: pd.DataFrame) -> None:
        self.fleet = fleet
        self._days = frames.microseconds(baseline_model["window_start"])
        self._rows = baseline_model
        self._known: tuple[int | None, _Known] = (None, {})
        self._last: tuple[object, HourModels | None] = (None, None)

    def of_hour(self, hour: Span) -> HourModels | None:
        """Choose each site's model: its own, or while that is warming up its region's; None where nobody has one.

        A site that was told to forget what was normal before a date takes its own only once that was learnt after the date.
        Mappings count as of the start of the hour.
        """
        day = training_day_in_force(self.fleet.start, hour.start)
        known = self._of_day(day)
        if day is None or not known:
            return None
        chosen = self._choice(known, hour.start)
        if self._last[0] != (day, chosen):
            rows = [known.get(key, {}) for key in chosen]
            self._last = ((day, chosen), _assembled(self.fleet, rows, day))
        return self._last[1]

    def is_open(self, hour: Span) -> bool:
        """Tell whether there is any model in an hour, without putting them together."""
        return bool(self._of_day(training_day_in_force(self.fleet.start, hour.start)))

    def _of_day(self, day: int | None) -> "_Known":
        if self._known[0] != day:
            trained = self._rows[
                (self._days == day) & (self._rows["state"] == "trained").to_numpy(np.bool_)
            ]
            known: _Known = {}
            for row in _records(trained):
                key = (str(row["scope"]), str(row["scope_id"]))
                known.setdefault(key, {})[str(row["domain"])] = row
            self._known = (day, {k: rows for k, rows in known.items() if ALL_DOMAINS in rows})
        return self._known[1]

    def _choice(self, known: "_Known", instant: int) -> tuple["_Key", ...]:
        mappings = mappings_as_of(self.fleet.settings_at(instant).region_mappings, instant)
        chosen = []
        for site in self.fleet.sites:
            own, mapping = ("site", site.site_id), mappings.get(site.site_id)
            region = mapping.region_id if mapping is not None else UNMAPPED
            is_own = own in known and not _is_forgotten(known[own], mapping, instant)
            chosen.append(own if is_own else ("region", region))
        return tuple(chosen)


_LISTS = ("centre", "scale", "mean", "variances", "directions")
_PLAIN = ("scope", "scope_id", "domain", "level", "error_mean", "error_sd", "learnt_from")
"""Columns of `baseline_model` that models are made from."""
_Key = tuple[str, str]
_Known = dict[_Key, dict[str, Row]]


def _records(models: pd.DataFrame) -> Iterator[Row]:
    """Yield rows; lists as arrays, for lists of numbers take long to make."""
    arrays = [frames.cells(models[name]) for name in _LISTS]
    plain = models[[*_PLAIN]].to_dict("records")
    for row, *own in zip(plain, *arrays, strict=True):
        yield {**row, **dict(zip(_LISTS, own, strict=True))}


def _is_forgotten(rows: dict[str, Row], mapping: RegionMapping | None, instant: int) -> bool:
    """Tell whether a model was learnt from what its site is to forget."""
    forgotten = None if mapping is None else mapping.baseline_from
    if forgotten is None or forgotten > pd.Timestamp(instant, unit="us", tz="UTC"):
        return False
    return bool(rows[ALL_DOMAINS]["learnt_from"] < pd.Timestamp(forgotten))


def _assembled(fleet: Fleet, chosen: Sequence[dict[str, Row]], day: int) -> HourModels:
    stamp = f"{pd.Timestamp(day, unit='us'):%Y-%m-%d}"
    names = [_version(rows, stamp) for rows in chosen]
    versions = tuple(sorted({name for name in names if name}))
    numbers = {name: i for i, name in enumerate(versions)}
    return HourModels(
        domains=tuple(
            _domain([rows.get(domain) for rows in chosen], domain, kpis)
            for domain, kpis in domains_of(fleet.config).items()
        ),
        is_warming_up=np.array([_is_pooled(rows) for rows in chosen], dtype=np.bool_),
        version=np.array([numbers.get(name, -1) for name in names], dtype=np.int64),
        versions=versions,
    )


def _is_pooled(rows: dict[str, Row]) -> bool:
    return bool(rows) and rows[ALL_DOMAINS]["scope"] == "region"


def _version(rows: dict[str, Row], stamp: str) -> str:
    if not rows:
        return ""
    return f"{stamp} {rows[ALL_DOMAINS]['scope_id']}" if _is_pooled(rows) else stamp


def _domain(rows: Sequence[Row | None], domain: str, kpis: NDArray[np.int64]) -> DomainModels:
    n_sites, size = len(rows), STACKED_WINDOWS * kpis.size
    centre, scale = (np.zeros((n_sites, kpis.size), dtype=np.float32) for _ in range(2))
    mean, values = (np.zeros((n_sites, size), dtype=np.float32) for _ in range(2))
    vectors = np.zeros((n_sites, size, size), dtype=np.float32)
    numbers = np.full((3, n_sites), np.nan)
    for i, row in enumerate(rows):
        if row is not None:
            centre[i], scale[i] = row["centre"], row["scale"]
            mean[i], values[i] = row["mean"], row["variances"]
            vectors[i] = np.asarray(row["directions"], dtype=np.float32).reshape(size, size)
            numbers[:, i] = [row[name] for name in ("level", "error_mean", "error_sd")]
    spectrum = Spectrum(mean, values, vectors)
    return DomainModels(
        domain,
        kpis,
        centre,
        scale,
        mean,
        spectrum.whitening(),
        spectrum.is_in_model,
        *numbers,
    )
