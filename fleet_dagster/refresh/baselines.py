"""Stored baselines, as the nodes that compare with them take them."""

from dataclasses import dataclass

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


@dataclass
class StoredModels:
    """The models last scored with: chunks that follow each other share them."""

    _key: tuple[tuple[int, str], ...] = ()
    _book: ModelBook | None = None

    def book(self, store: Store, fleet: Fleet, span: Span) -> ModelBook:
        """Return the models in force in a span as they are stored now."""
        table = BASELINE_MODEL
        key = tuple(
            (day, store.history.newest_digest(table.name, fleet.name, Span(day, day + DAY)))
            for day in training.training_days_of(fleet, span)
        )
        if self._book is None or key != self._key or fleet != self._book.fleet:
            self._key, self._book = key, ModelBook(fleet, stored_models(store, fleet, span))
        return self._book


def _stored(store: Store, fleet: Fleet, table: Table, span: Span) -> pd.DataFrame:
    days = training.training_days_of(fleet, span)
    rows = [store.frame(table, fleet.name, Span(day, day + DAY)) for day in days]
    return frames.concat(table, rows)
