"""What retention removed, or would, as a table for people."""

from collections.abc import Sequence

from fleet_dagster.core.windows import iso_day
from fleet_dagster.storage.cursors import Missed
from fleet_dagster.streams.retention import Removed


def retention_table(done: Sequence[Removed]) -> str:
    """Return a Markdown table of what went of each table, and who had not read it."""
    lines = [
        "| table | kept | days removed | rows | replaced | merged |",
        "|---|---:|---|---:|---:|---:|",
    ]
    for one in done:
        rows = "later" if one.n_rows is None and one.days else f"{one.n_rows or 0:,}"
        lines.append(
            f"| `{one.table}` | {one.kept_days}&nbsp;d | {days_text(one.days)} | {rows} "
            f"| {one.n_replaced:,} | {one.n_merged:,} |"
        )
    missed = [m for one in done for m in one.missed]
    if missed:
        lines += ["", "Not read before it went:", "", *(f"- {missed_text(m)}" for m in missed)]
    return "\n".join(lines)


def days_text(days: Sequence[str]) -> str:
    """Name days: the first, the last and how many."""
    if not days:
        return "-"
    return days[0] if len(days) == 1 else f"{len(days)}: {days[0]} to {days[-1]}"


def missed_text(missed: Missed) -> str:
    """Say what a consumer missed."""
    entries = "1 entry" if missed.n_entries == 1 else f"{missed.n_entries:,} entries"
    return f"{missed.consumer} had not read {entries} of {missed.stream} about {iso_day(missed.span.start)}"
