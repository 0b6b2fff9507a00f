"""Streams: the tables that others follow, how long each is kept, and who follows it. Declared here and nowhere else."""

from collections.abc import Mapping
from dataclasses import dataclass

from fleet_dagster.model.tables import (
    AI_INFERENCE,
    FLEET_CORRELATION,
    FLEET_KPI,
    REGIONAL_HEALTH,
    SITE_RANKING,
    Table,
)

CONSUMERS: Mapping[str, str] = {
    "ops_dashboard": "Web page of the fleet as it is now",
    "fleet_console": "Terminal view of the fleet as it is now",
    "alerting": "Tells people what needs them, once",
    "ai_training": "Keeps labelled training sets up to date",
    "ai_audit": "Recomputes what AI models were fed, and reports differences",
    "streamsight": "Metrics of every node",
    "ledger": "Keeps the history that cannot be rewritten silently",
}
"""The consumers that come with the package, and what each is for; anybody may add others."""


@dataclass(frozen=True, slots=True)
class Stream:
    """The commit log of one table, in the order of commit, each entry with its rows."""

    table: Table
    consumers: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name within a fleet."""
        return str(self.table.stream)

    def address(self, fleet: str) -> str:
        """Return the full name of one fleet's stream."""
        return f"esn/fleet/{fleet}/{self.name}"


STREAMS: Mapping[str, Stream] = {
    s.name: s
    for s in (
        Stream(
            FLEET_KPI, ("ops_dashboard", "fleet_console", "ai_training", "streamsight", "ledger")
        ),
        Stream(REGIONAL_HEALTH, ("ops_dashboard", "fleet_console", "streamsight")),
        Stream(SITE_RANKING, ("ops_dashboard", "fleet_console")),
        Stream(FLEET_CORRELATION, ("ops_dashboard", "fleet_console", "alerting")),
        Stream(AI_INFERENCE, ("ai_audit", "streamsight", "ops_dashboard")),
    )
}
"""Every stream by name."""
