"""Open incidents as a Markdown table."""

from collections.abc import Sequence

from fleet_dagster.storage.anomalies import Incident

SHOWN = 20
"""Incidents listed; the others are counted."""
SITES_SHOWN = 5
_HEAD = ("incident", "since", "pattern", "severity", "sites", "origin", "confidence")


def incident_table(incidents: Sequence[Incident], at: str) -> str:
    """Return a Markdown table of the incidents open at an instant, the worst first."""
    if not incidents:
        return f"No incident is open at {at}."
    lines = [_HEAD, ("---",) * len(_HEAD), *(_row(i) for i in incidents[:SHOWN])]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    hidden = len(incidents) - SHOWN
    return f"Open at {at}:\n\n{table}" + (f"\n\nand {hidden} more" if hidden > 0 else "")


def origin(incident: Incident) -> str:
    """Say where an incident began, or may have begun."""
    if incident.root_cause_site is not None:
        kpi = f", {incident.root_cause_kpi}" if incident.root_cause_kpi else ""
        return f"{incident.root_cause_site}{kpi}"
    if not incident.candidates:
        return "undetermined"
    return f"undetermined: {shortened(incident.candidates)}"


def shortened(sites: Sequence[str]) -> str:
    """Name a few sites, and count the others."""
    hidden = len(sites) - SITES_SHOWN
    return ", ".join(sites[:SITES_SHOWN]) + (f" and {hidden} more" if hidden > 0 else "")


def _row(incident: Incident) -> tuple[str, ...]:
    cells = (
        f"`{incident.incident_id}`",
        f"{incident.since:%Y-%m-%d %H:%M:%S} UTC",
        incident.pattern.replace("_", " "),
        incident.severity,
        f"{len(incident.sites)}: {shortened(incident.sites)}",
        origin(incident),
        f"{incident.confidence:.0%}",
    )
    return tuple(cell.replace("|", "\\|") for cell in cells)
