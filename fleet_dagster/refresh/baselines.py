"""Stored baselines, as the nodes that compare with them take them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from fleet_dagster import training
from fleet_dagster.core.windows import DAY, Span
from fleet_dagster.frames import columns as frames
from fleet_dagster.frames.scoring_models import ModelBook
from fleet_dagster.model.fleet import Fleet
from fleet_dagster.model.tables import BASELINE, BASELINE_MODEL, Table
from fleet_dagster.storage.store import Store


def stored_baselines(store: Store, fleet: Fleet, span: Span) -> pd.DataFrame:
    """Return the stored baselines in force in a span and in the windows that its persistence flags read."""
    return _stored(store, fleet, BASELINE, span)


def stored_models(store: Store, fleet: Fleet, span: Span) -> pd.DataFrame:
    """Return the stored models in force in a span, which anomaly scores are made with."""
    return _stored(store, fleet, BASELINE_MODEL, span)


RATES = ("window_start", "scope", "scope_id", "state", "n_onsets", "exposure_h")
"""Columns of `baseline_model` that say how often alarms have begun."""
_Key = tuple[str, tuple[tuple[int, str], ...]]


@dataclass
class StoredModels:
    """What was last read of baselines and models, and the models last scored with: chunks and windows that follow share them."""

    _book: tuple[_Key, ModelBook] | None = None
    _known: dict[str, tuple[_Key, pd.DataFrame]] = field(default_factory=dict)

    def book(self, store: Store, fleet: Fleet, span: Span) -> ModelBook:
        """Return the models in force in a span as they are stored now."""
        key = _key(store, fleet, BASELINE_MODEL, span)
        if self._book is None or key != self._book[0] or fleet != self._book[1].fleet:
            self._book = key, ModelBook(fleet, stored_models(store, fleet, span))
        return self._book[1]

    def rates(self, store: Store, fleet: Fleet, span: Span) -> pd.DataFrame:
        """Return how often alarms have begun, as the models in force in a span say that are stored now."""
        return self._read(store, fleet, BASELINE_MODEL, span, RATES)

    def baselines(self, store: Store, fleet: Fleet, span: Span) -> pd.DataFrame:
        """Return the baselines in force in a span and in the windows that its persistence flags read, as they are stored now."""
        return self._read(store, fleet, BASELINE, span, None)

    def _read(
        self, store: Store, fleet: Fleet, table: Table, span: Span, columns: Sequence[str] | None
    ) -> pd.DataFrame:
        key, known = _key(store, fleet, table, span), self._known.get(table.name)
        if known is None or known[0] != key:
            known = key, _stored(store, fleet, table, span, columns)
            self._known[table.name] = known
        return known[1]


def _key(store: Store, fleet: Fleet, table: Table, span: Span) -> _Key:
    """Name what a table holds for a span: equal names, equal rows."""
    newest = store.history.newest_digest
    return fleet.name, tuple(
        (day, newest(table.name, fleet.name, Span(day, day + DAY)))
        for day in training.training_days_of(fleet, span)
    )


def _stored(
    store: Store, fleet: Fleet, table: Table, span: Span, columns: Sequence[str] | None = None
) -> pd.DataFrame:
    days = training.training_days_of(fleet, span)
    rows = [store.frame(table, fleet.name, Span(day, day + DAY), columns=columns) for day in days]
    found = frames.concat(table, rows)
    return found if columns is None else found.loc[:, list(columns)]
