"""The console's tables: regions, worst sites, open incidents. Each is drawn with as many rows as there is room for."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

from fleet_dagster.console.columns import Column, cut, fitted
from fleet_dagster.console.picture import Picture, WorstSite
from fleet_dagster.console.words import BAD, POOR, SEVERITY_STYLES, band, banded, clock, signed
from fleet_dagster.model.tables import SEVERITIES, UNMAPPED
from fleet_dagster.storage.anomalies import Incident
from fleet_dagster.storage.status import FleetStatus, RegionStatus
from fleet_dagster.views.incident_table import origin

CAUSE_CELLS = 24
"""To these a root cause is cut before anything else of an incident is left out."""
HEAD_LINES = 2
"""Lines of a section above its rows: its name, and its columns' titles."""


@dataclass(frozen=True, slots=True)
class Section:
    """One table: all its rows, whether they fit or not."""

    name: str
    columns: tuple[Column, ...]
    rows: Sequence[Sequence[Text]]
    nothing: str
    """What to say where there is no row."""
    n_more: int = 0
    """Rows that there are besides these."""

    @property
    def n_rows(self) -> int:
        """Rows that there are in all."""
        return len(self.rows) + self.n_more

    def lines(self, width: int, n_rows: int) -> list[Text]:
        """Draw the first rows, and count the others."""
        if not self.rows:
            title = Text(f"{self.name}: ", style="bold").append(self.nothing, style="not bold")
            return [cut(title, width)]
        hidden = self.n_rows - min(n_rows, len(self.rows))
        more = f"  +{hidden} more" if hidden else ""
        title = Text(f"{self.name} ({self.n_rows})", style="bold").append(more, style="not bold")
        return [cut(title, width), *fitted(self.columns, self.rows[:n_rows], width)]


def sections(picture: Picture, one: FleetStatus, now: dt.datetime) -> tuple[Section, ...]:
    """Return open incidents, regions and worst sites."""
    return _incidents(one, now), _regions(one), _worst(picture, one, now)


def _regions(one: FleetStatus) -> Section:
    columns = (
        Column("region"),
        Column("health", justify="right"),
        Column("band"),
        Column("sites", 3, "right"),
        Column("on/deg/flt/off", 4, "right"),
        Column("reports", 2, "right"),
        Column("anomalous", 1, "right"),
        Column("worst site", 5),
    )
    found = sorted(one.regions, key=lambda r: (r.region_id == UNMAPPED, r.health, r.region_id))
    return Section(
        "REGIONS", columns, [_region(r) for r in found], "not computed for this window yet"
    )


def _region(one: RegionStatus) -> tuple[Text, ...]:
    is_silent = one.coverage == 0
    return (
        Text(one.region_id),
        Text("-") if is_silent else Text(f"{one.health:.4f}"),
        Text("no reports", style=BAD) if is_silent else banded(one.band, one.band),
        Text(str(one.n_sites)),
        Text("/".join(str(n) for n in one.sites.values())),
        Text(f"{one.coverage:.0%}"),
        Text("-") if one.anomalies is None else _counted(one.anomalies),
        Text(one.worst_site_id or "-"),
    )


def _worst(picture: Picture, one: FleetStatus, now: dt.datetime) -> Section:
    columns = (
        Column("rank", 2, "right"),
        Column("site"),
        Column("region", 3),
        Column("health", justify="right"),
        Column("band", 4),
        Column("z region", 1, "right"),
        Column("z fleet", 5, "right"),
        Column("outlier"),
        Column("as of", 6),
    )
    is_live = picture.condition(now) != "old"
    rows = [_site(s, now, is_now=is_live and s.as_of == one.window_start) for s in picture.worst]
    hidden = picture.n_ranked - len(rows)
    return Section("WORST SITES", columns, rows, "no site is ranked in this window", hidden)


def _site(site: WorstSite, now: dt.datetime, *, is_now: bool) -> tuple[Text, ...]:
    name = band(site.health)
    return (
        Text(str(site.rank_in_fleet)),
        Text(site.site_id),
        Text(site.region_id),
        Text(f"{site.health:.4f}"),
        banded(name, name),
        Text(signed(site.modified_z_region)),
        Text(signed(site.modified_z_fleet)),
        Text("persistent", style=POOR) if site.is_persistent_outlier else Text("-"),
        Text("now" if is_now else clock(site.as_of, now), style="dim"),
    )


def _incidents(one: FleetStatus, now: dt.datetime) -> Section:
    columns = (
        Column("severity"),
        Column("pattern", 3),
        Column("sites", 1, "right"),
        Column("since"),
        Column("root cause", least=CAUSE_CELLS),
        Column("confidence", 2, "right"),
        Column("regions", 4),
        Column("incident", 5),
    )
    found = [_incident(i, now) for i in one.open_incidents]
    nothing = "none" if one.anomalies is not None else "none, but no site is scored in this window"
    return Section("OPEN INCIDENTS", columns, found, nothing)


def _incident(one: Incident, now: dt.datetime) -> tuple[Text, ...]:
    mark = "!" * SEVERITIES.index(one.severity)
    return (
        Text(f"{one.severity} {mark}".rstrip(), style=SEVERITY_STYLES[one.severity]),
        Text(one.pattern.replace("_", " ")),
        Text(str(len(one.sites))),
        Text(clock(one.since, now)),
        Text(origin(one)),
        Text(f"{one.confidence:.0%}"),
        Text(", ".join(one.regions)),
        Text(one.incident_id, style="dim"),
    )


def _counted(n: int) -> Text:
    return Text(str(n), style=POOR if n else "")
