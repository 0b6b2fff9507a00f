"""Open incidents as a Markdown table."""

from collections.abc import Sequence

from fleet_dagster.storage.anomalies import Incident

SHOWN = 20
"""Incidents listed; the others are counted."""
SITES_SHOWN = 5
ALL_BUT_CERTAIN = 0.995
"""Confidence that would be rounded to certainty."""
_HEAD = ("since, UTC", "what", "where", "incident")
"""Few and narrow columns: a short table is shown in a third of the page's width, and cut off there."""


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
    sure = f"{incident.confidence:.0%}" if incident.confidence < ALL_BUT_CERTAIN else ">99%"
    cells = (
        f"{incident.since:%m-%d %H:%M}",
        f"{incident.severity}, {incident.pattern.replace('_', ' ')}, {sure} sure",
        _where(incident),
        f"`{incident.incident_id}`",
    )
    return tuple(cell.replace("|", "\\|") for cell in cells)


def _where(incident: Incident) -> str:
    if len(incident.sites) == 1:
        return origin(incident)
    return f"{len(incident.sites)} sites: {shortened(incident.sites)}; origin {origin(incident)}"
