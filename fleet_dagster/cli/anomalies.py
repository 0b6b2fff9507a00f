"""How `fleet status` shows anomalies and incidents to people."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from fleet_dagster.cli.terminal import counted, utc
from fleet_dagster.model.tables import ALL_DOMAINS
from fleet_dagster.storage.anomalies import Incident
from fleet_dagster.storage.site_status import SiteStatus
from fleet_dagster.storage.status import FleetStatus
from fleet_dagster.views.incident_table import origin, shortened

_COLOURS = {"info": "white", "warning": "yellow", "critical": "red"}
_SHOWN = 10


def show_anomalies(screen: Console, now: FleetStatus) -> None:
    """Say how many sites are anomalous and which incidents are open."""
    if now.anomalies is None:
        screen.print("  anomalies not scored in this window")
    else:
        sites = counted(now.anomalies, "anomalous site")
        screen.print(f"  anomalies {sites}; {_counted(now.open_incidents)}")
    if now.open_incidents:
        screen.print(_table(now.open_incidents[:_SHOWN]))
    hidden = len(now.open_incidents) - _SHOWN
    if hidden > 0:
        screen.print(f"  and {hidden} more")


def show_site_anomaly(screen: Console, site: SiteStatus) -> None:
    """Say how far a site is from its normal, which KPIs make it so, and to which incident it belongs."""
    screen.print(f"  anomaly   {_score(site)}", soft_wrap=True)
    if site.incident is not None:
        one = site.incident
        screen.print(
            f"  incident  {one.incident_id}, {one.pattern}, {one.severity}, since {utc(one.since)}; {shortened(one.sites)}; "
            f"origin {origin(one)}",
            soft_wrap=True,
        )


def _score(site: SiteStatus) -> str:
    if site.anomaly_score is None:
        return "not scored"
    compared = "; compared with its region" if site.anomaly_state == "warming_up" else ""
    if not site.anomalous_in:
        return f"score {site.anomaly_score:.2f}, not anomalous{compared}"
    domain = site.anomalous_in[0]
    where = "" if domain == ALL_DOMAINS else f" in domain {domain}"
    blamed = ", ".join(f"{kpi} {share:.0%}" for kpi, share in site.top_kpis.items())
    return f"score {site.anomaly_score:.2f}, anomalous{where} by {blamed}{compared}"


def _counted(incidents: Sequence[Incident]) -> str:
    n_critical = sum(i.severity == "critical" for i in incidents)
    return f"{counted(len(incidents), 'open incident')}" + (
        f" ({n_critical} critical)" if n_critical else ""
    )


def _table(incidents: Sequence[Incident]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("  open incident", "since", "pattern", "severity", "sites", "origin"):
        table.add_column(name, justify="right" if name == "sites" else "left")
    for one in incidents:
        table.add_row(
            f"  {one.incident_id}",
            f"{one.since:%m-%d %H:%M}",
            one.pattern,
            f"[{_COLOURS[one.severity]}]{one.severity}[/]",
            str(len(one.sites)),
            origin(one),
        )
    return table
