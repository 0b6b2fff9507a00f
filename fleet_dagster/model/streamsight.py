"""What is measured of a fleet's nodes, and when that is a warning."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field, model_validator

from fleet_dagster.model.node_report import NODES
from fleet_dagster.model.profiles import Frozen

_Seconds = Annotated[float, Field(gt=0, le=31_536_000)]


class NodeThresholds(Frozen):
    """Beyond what a node's own work is a warning: a check in Dagster that warns, and a metric."""

    anomaly_score: Annotated[float, Field(gt=0, le=1000)] = 5.0
    """How unusually slow it may be for each window, against its own last work; at the default, twice as slow is never a warning alone. [scaled MADs]"""
    baseline_window: Annotated[int, Field(ge=12, le=1000)] = 60
    """How many of its last reports it is compared with; fewer than 12 comparable ones judge nothing."""
    max_quarantined_pct: Annotated[float, Field(ge=0, le=100)] = 10.0
    """Share of the landed snapshots that may be unusable. [%]"""
    max_window_duration_s: _Seconds | None = None
    """How long a refresh may take for each window; None for as long as it likes. [s]"""
    max_lag_s: _Seconds | None = None
    """How old its newest window may be when it has done its work; None for as old as it likes. [s]"""


class StreamSightSettings(Frozen):
    """What is measured, and when it is a warning."""

    thresholds: NodeThresholds = NodeThresholds()
    """Thresholds of every node."""
    nodes: Mapping[str, NodeThresholds] = {}
    """Thresholds of single nodes; what is left out of one is taken from `thresholds`."""
    per_site: bool = False
    """Whether /metrics also has a series for each site: 3,000 more for a large fleet."""

    @model_validator(mode="before")
    @classmethod
    def _fill_from_thresholds(cls, raw: Any) -> Any:  # Any: whatever a caller gave
        if not isinstance(raw, dict) or not isinstance(raw.get("nodes"), dict):
            return raw
        shared = raw.get("thresholds", {})
        known = shared.model_dump() if isinstance(shared, NodeThresholds) else shared
        nodes = {
            name: {**known, **own} if isinstance(own, dict) and isinstance(known, dict) else own
            for name, own in raw["nodes"].items()
        }
        return {**raw, "nodes": nodes}

    def of(self, node: str) -> NodeThresholds:
        """Return the thresholds of one node."""
        return self.nodes.get(node, self.thresholds)


def streamsight_problems(
    settings: StreamSightSettings,
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield what is wrong with the settings, and where."""
    for name in sorted(set(settings.nodes) - set(NODES)):
        yield (
            ("streamsight", "nodes", name),
            f"streamsight.nodes names {name!r}, which is not a node. Use one of {', '.join(NODES)}",
        )
