"""How the sensor of late data names spans, days and files in what its ticks say."""

from collections.abc import Sequence

from fleet_dagster.core.windows import Span, iso, iso_day
from fleet_dagster.ingest.drop_folder import Look, shown

_NAMED = 3
"""Spans, files and days that a message names; the rest is counted."""


def landing_words(look: Look) -> list[str]:
    """Say what a look at the watched folder landed, what failed, and what waits."""
    landed = [t for t in look.taken if t.report is not None]
    said = []
    if landed:
        n_rows = sum(t.report.n_landed for t in landed if t.report)
        n_bad = sum(t.report.n_quarantined for t in landed if t.report)
        names = list_text([shown(t.name) for t in landed])
        said.append(f"Landed {n_rows:,} rows ({n_bad:,} quarantined) of {names}.")
    said += [f"{shown(t.name)} went to failed/: {t.reason}." for t in look.taken if t.reason]
    if look.waiting:
        said.append(f"Not whole or not finished yet: {list_text(list(map(shown, look.waiting)))}.")
    return said


def spans_text(spans: Sequence[Span]) -> str:
    """Name the first spans, and count the others."""
    return list_text([f"{iso(s.start)}/{iso(s.end)}" for s in spans])


def days_text(days: Sequence[Span]) -> str:
    """Count days, and name the first."""
    named = list_text([date_text(day) for day in days])
    return f"1 day ({named})" if len(days) == 1 else f"{len(days)} days ({named})"


def list_text(names: Sequence[str], between: str = ", ") -> str:
    """Join the first names, and count the others."""
    more = len(names) - _NAMED
    return between.join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def date_text(day: Span) -> str:
    """Return the UTC date of a day."""
    return iso_day(day.start)
