"""What differs between two versions of a fleet's hot settings, in words a person reads."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

from fleet_dagster.model.config import HotSettings, RegionMapping
from fleet_dagster.model.profiles import HealthWeights
from fleet_dagster.model.slots import AIModelSlot

THRESHOLDS = (
    "outlier_sigma",
    "anomaly_threshold",
    "deviation_sigma",
    "min_good_pct",
    "staleness_threshold_s",
)
"""Hot settings that are one number each."""
_LABELS = {"region_id": "region", "baseline_from": "normal is learnt from (baseline_from)"}


@dataclass(frozen=True, slots=True)
class Change:
    """One setting that differs: what it is, and its value before and after; None where there is none."""

    setting: str
    old: object
    new: object

    def __str__(self) -> str:
        """Say the change in one line."""
        if self.old is None:
            return f"{self.setting}: added ({_said(self.new)})"
        if self.new is None:
            return f"{self.setting}: removed (was {_said(self.old)})"
        return f"{self.setting}: {_said(self.old)} → {_said(self.new)}"


def differences(old: HotSettings, new: HotSettings) -> list[Change]:
    """Return what changes from one version of the hot settings to another.

    Parameters
    ----------
    old, new : HotSettings
        The two versions.

    Returns
    -------
    list of Change
        Thresholds first, then weights, sites and model slots; empty where rows cannot differ.
    """
    return [
        *_numbers(old, new),
        *_weights(old.health_weights, new.health_weights),
        *_sites(old.region_mappings, new.region_mappings),
        *_slots(old.ai_models, new.ai_models),
    ]


def _numbers(old: HotSettings, new: HotSettings) -> Iterator[Change]:
    for name in THRESHOLDS:
        yield from _changed(name, getattr(old, name), getattr(new, name))


def _weights(old: HealthWeights, new: HealthWeights) -> Iterator[Change]:
    for name in ("uptime_weight", "fault_weight"):
        yield from _changed(name, getattr(old, name), getattr(new, name))
    for k in range(max(old.weight_count, new.weight_count)):
        before, after = (w.weights[k] if k < w.weight_count else None for w in (old, new))
        yield from _changed(f"weight of KPI {k:02d}", before, after)


def _sites(old: tuple[RegionMapping, ...], new: tuple[RegionMapping, ...]) -> Iterator[Change]:
    before, after = ({(m.site_id, m.valid_from): m for m in entries} for entries in (old, new))
    for key in [*before, *(key for key in after if key not in before)]:
        was, now = before.get(key), after.get(key)
        site = f"site {key[0]}" + (f" from {key[1]:%Y-%m-%dT%H:%M:%S%z}" if key[1] else "")
        if was is None or now is None:
            yield Change(site, was and f"in {was.region_id}", now and f"in {now.region_id}")
            continue
        for field in RegionMapping.model_fields:
            label = _LABELS.get(field, field)
            yield from _changed(f"{site}, {label}", getattr(was, field), getattr(now, field))


def _slots(old: tuple[AIModelSlot, ...], new: tuple[AIModelSlot, ...]) -> Iterator[Change]:
    before, after = ({m.slot_id: m for m in slots} for slots in (old, new))
    for slot in sorted({*before, *after}):
        was, now = before.get(slot), after.get(slot)
        if was is None or now is None:
            yield Change(f"slot {slot}", was and was.model_id, now and now.model_id)
            continue
        for field in AIModelSlot.model_fields:
            yield from _changed(f"slot {slot}, {field}", getattr(was, field), getattr(now, field))


def _changed(setting: str, old: object, new: object) -> Iterator[Change]:
    if old != new:
        yield Change(setting, "nothing" if old is None else old, "nothing" if new is None else new)


def _said(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(str(one) for one in value) or "nothing"
    if isinstance(value, dt.datetime):
        return f"{value.astimezone(dt.UTC):%Y-%m-%dT%H:%M:%SZ}"
    return f"{value:g}" if isinstance(value, float) else str(value)
