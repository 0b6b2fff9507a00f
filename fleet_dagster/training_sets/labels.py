"""Labels: which acknowledged incident a site-window belongs to, and what that was."""

import hashlib
import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fleet_dagster.core.windows import Span
from fleet_dagster.storage.acknowledged import AcknowledgedIncident
from fleet_dagster.training_sets.choice import LABELS

_WEIGHTS = ("false_alarm", "unknown", "maintenance", "fault")
"""Of incidents that share a site-window, the last of these counts; of equals, the one that began first."""


def labelled(rows: pa.Table, incidents: Sequence[AcknowledgedIncident]) -> pa.Table:
    """Label the windows of an incident's sites that overlap it, from its onset to its end; others have no label."""
    found = {name: np.full(rows.num_rows, None, object) for name in LABELS}
    starts, ends = (
        np.asarray(rows.column(name).cast(pa.int64())) for name in ("window_start", "window_end")
    )
    for one in sorted(incidents, key=_weight):
        sites = pc.is_in(rows.column("site_id"), value_set=pa.array(one.sites, pa.string()))
        is_in = np.asarray(sites) & (starts < one.span.end) & (ends > one.span.start)
        found["incident_id"][is_in], found["truth"][is_in] = one.incident_ids[0], one.truth
        found["is_root"][is_in] = None
        if one.cause is not None:
            is_root = np.asarray(pc.equal(rows.column("site_id"), one.cause))
            found["is_root"][is_in] = is_root[is_in]
    for name, (kind, _) in LABELS.items():
        at = rows.schema.get_field_index(name)
        rows = rows.set_column(at, name, pa.array(found[name].tolist(), kind))
    return rows


def label_counts(rows: pa.Table) -> dict[str, int]:
    """Return how many rows have each label."""
    counted = rows.column("truth").drop_null().value_counts().to_pylist()
    return {str(c["values"]): int(c["counts"]) for c in sorted(counted, key=lambda c: c["values"])}


def within(incidents: Sequence[AcknowledgedIncident], day: Span) -> list[AcknowledgedIncident]:
    """Return the incidents that touch a day."""
    return [one for one in incidents if one.span.overlaps(day)]


def label_digest(incidents: Sequence[AcknowledgedIncident], day: Span) -> str:
    """Return a digest of all that a day's labels depend on; it changes when these do, and then only."""
    facts = sorted(
        (
            one.incident_ids[0],
            one.truth,
            sorted(one.sites),
            one.span.start,
            min(one.span.end, day.end),
            one.cause or "",
        )
        for one in within(incidents, day)
    )
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _weight(one: AcknowledgedIncident) -> tuple[int, int, tuple[str, ...]]:
    return _WEIGHTS.index(one.truth), -one.span.start, one.incident_ids
