"""How long each computed table is kept."""

from typing import Annotated

from pydantic import Field

from fleet_dagster.model import tables
from fleet_dagster.model.profiles import Frozen

MIN_DAYS = 14
"""The schedule catches up a week, and reads up to six days before the windows that it computes."""
Days = Annotated[int, Field(ge=MIN_DAYS, le=36_500)]


class Retention(Frozen):
    """Days that tables are kept, each with its stream and the rows that restatements replaced.

    A day of rows goes when its windows ended, and were last written, so long ago.
    """

    site_assignment: Days = tables.SITE_ASSIGNMENT.retention_days
    """Which site lay in which region. [d]"""
    site_kpi: Days = tables.SITE_KPI.retention_days
    """Site windows. [d]"""
    quarantine: Days = tables.QUARANTINE.retention_days
    """Snapshots that could not be used. [d]"""
    ingest_stats: Days = tables.INGEST_STATS.retention_days
    """The books of ingest. [d]"""
    region_kpi: Days = tables.REGION_KPI.retention_days
    """Regions' means. [d]"""
    fleet_kpi: Days = tables.FLEET_KPI.retention_days
    """The fleet's means, and `fleet_kpi_stream`. [d]"""
    regional_health: Days = tables.REGIONAL_HEALTH.retention_days
    """Regions' health, and `regional_health_stream`. [d]"""
    site_ranking: Days = tables.SITE_RANKING.retention_days
    """Ranks and outliers, and `site_ranking_stream`. [d]"""
    baseline: Days = tables.BASELINE.retention_days
    """What was normal for each site: medians. [d]"""
    baseline_model: Days = tables.BASELINE_MODEL.retention_days
    """What was normal for each site: models. [d]"""
    anomaly_score: Days = tables.ANOMALY_SCORE.retention_days
    """Anomaly scores. [d]"""
    fleet_correlation: Days = tables.FLEET_CORRELATION.retention_days
    """Incidents, and `fleet_correlation_stream`. [d]"""
    ai_inference: Days = tables.AI_INFERENCE.retention_days
    """Answers of AI models, and `ai_inference_stream`. [d]"""

    def days_of(self, table: tables.Table) -> int:
        """Return how many days a computed table is kept."""
        return int(getattr(self, table.name))
