"""What a training set holds: its columns, and what each means."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from fleet_dagster.model.config import FleetConfig, Kpi
from fleet_dagster.model.errors import ConfigError

STAMP = pa.timestamp("us", tz="UTC")
_BEFORE: Mapping[str, tuple[pa.DataType, str]] = {
    "window_start": (STAMP, "First instant of the window, UTC"),
    "window_end": (STAMP, "First instant after the window, UTC"),
    "site_id": (pa.string(), "Site"),
    "region_id": (pa.string(), "Region of the site as of the window"),
    "status": (pa.string(), "Last status: online, degraded, faulted or offline"),
    "uptime_pct": (pa.float32(), "Mean uptime [%]; null while the site is silent"),
    "fault_count": (pa.int32(), "Most active faults; null while the site is silent"),
    "n_snapshots": (pa.int32(), "Snapshots used; 0 where earlier values are carried on"),
}
_AFTER: Mapping[str, tuple[pa.DataType, str]] = {
    "health": (pa.float64(), "Site health, 0 to 1; null while the site is silent or not read"),
    "anomaly_score": (pa.float32(), "Score over all KPIs, 0 to 1; null where it is not scored"),
    "anomaly_state": (pa.string(), "scored, warming_up or not_scored; null where never computed"),
    "fleet_health": (pa.float64(), "Health of the whole fleet, 0 to 1; null where no site reports"),
}
LABELS: Mapping[str, tuple[pa.DataType, str]] = {
    "incident_id": (pa.string(), "Acknowledged incident that the site-window belongs to"),
    "truth": (pa.string(), "What that incident was, by whoever acknowledged it"),
    "is_root": (
        pa.bool_(),
        "Whether it began at this site; null where nobody has said where it began",
    ),
}
TRUTHS: Mapping[str, str] = {
    "fault": "something was broken",
    "maintenance": "somebody was at work on it",
    "false_alarm": "nothing was wrong",
    "unknown": "somebody looked, and could not tell",
}
NO_LABEL = (
    "null: in no acknowledged incident. That is not the same as normal: an incident may not have been acknowledged, or not "
    "been detected"
)


@dataclass(frozen=True, slots=True)
class Choice:
    """Which KPIs and sites a training set holds."""

    kpis: tuple[Kpi, ...]
    sites: tuple[str, ...] | None = None
    """None for all."""

    @classmethod
    def of(
        cls, config: FleetConfig, kpis: tuple[str, ...] = (), sites: tuple[str, ...] = ()
    ) -> "Choice":
        """Choose KPIs by name, by default all, and sites.

        Raises
        ------
        ConfigError
            The fleet has no KPI of a name.
        """
        unknown = sorted(set(kpis) - set(config.kpi_names))
        if unknown:
            known = ", ".join(config.kpi_names)
            problem = f"no KPI is named {', '.join(unknown)}. The fleet's are: {known}"
            raise ConfigError(f"fleet {config.name}", [problem])
        chosen = tuple(k for k in config.kpis if not kpis or k.name in kpis)
        return cls(chosen, tuple(sorted(set(sites))) or None)

    @property
    def columns(self) -> dict[str, tuple[pa.DataType, str]]:
        """The type and meaning of each column, in order."""
        values = {
            normalised(k.name): (
                pa.float32(),
                f"Mean {k.name}: 0 = {k.lo:g} {k.unit}, 1 = {k.hi:g} {k.unit}, unclipped; null where absent",
            )
            for k in self.kpis
        }
        readings = {reading(k.name): (pa.float64(), f"The same in {k.unit}") for k in self.kpis}
        return {**_BEFORE, **values, **readings, **_AFTER, **LABELS}

    @property
    def schema(self) -> pa.Schema:
        """The columns of every file."""
        return pa.schema([(name, kind) for name, (kind, _) in self.columns.items()])


def normalised(kpi: str) -> str:
    """Return the name of a KPI's column; no KPI can be taken for another column of the set."""
    return f"kpi_{kpi}"


def reading(kpi: str) -> str:
    """Return the name of the column of a KPI's readings."""
    return f"reading_{kpi}"
