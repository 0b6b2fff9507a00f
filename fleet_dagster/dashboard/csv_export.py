"""What is on screen as CSV: the same rows, in the same order, with cells that no spreadsheet takes for a formula."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from starlette.datastructures import QueryParams

from fleet_dagster.core.windows import SECOND, iso
from fleet_dagster.dashboard.access import Refused
from fleet_dagster.dashboard.documents import Document
from fleet_dagster.model.tables import STATUS_NAMES

_FORMULA = ("=", "+", "-", "@")
Row = dict[str, Any]  # Any: JSON


def regions(document: Document, query: QueryParams) -> str:
    """Return the regions."""
    rows = [
        {
            "region_id": r["region_id"],
            "health": r["health"]["score"],
            **{name: r["health"][name] for name in ("kpi", "uptime", "fault", "band", "stderr")},
            "lowest": r["health"]["lowest"],
            **{n: r[n] for n in ("n_sites", *STATUS_NAMES, "coverage", "anomalies")},
            "worst_site_id": r["worst_site_id"],
        }
        for r in document["regions"]
    ]
    return written(_chosen(rows, query, ("region_id", "worst_site_id")))


def ranking(document: Document, query: QueryParams) -> str:
    """Return the sites, those that the filters `region`, `status`, `outliers` and `q` leave."""
    names = list(document["sites"])
    rows = [
        dict(zip(names, cells, strict=True))
        for cells in zip(*document["sites"].values(), strict=True)
    ]
    for row in rows:
        row["status"] = STATUS_NAMES[row["status"]]
    region, status = query.get("region"), query.get("status")
    if status and status not in STATUS_NAMES:
        raise Refused(400, f"status is {status[:40]!r}, expected one of {', '.join(STATUS_NAMES)}")
    kept = [
        row
        for row in rows
        if (not region or row["region_id"] == region)
        and (not status or row["status"] == status)
        and (query.get("outliers") != "1" or row["is_persistent_outlier"])
    ]
    return written(_chosen(kept, query, ("site_id", "region_id"), names=names))


def incidents(document: Document, query: QueryParams) -> str:
    """Return the incidents, those that `open=1` leaves."""
    rows = [
        {
            **{k: v for k, v in one.items() if k not in ("acknowledgement", "partition")},
            **{
                f"acknowledged_{name}": (one["acknowledgement"] or {}).get(name)
                for name in ("by", "at", "truth", "note")
            },
        }
        for one in document["incidents"]
        if query.get("open") != "1" or one["is_open"]
    ]
    return written(_chosen(rows, query, ("incident_id", "sites", "regions", "pattern")))


def course(found: Mapping[str, Any]) -> str:  # Any: JSON
    """Return a course, one line for each point; with the extremes where it is thinned."""
    return _over_time(found["t"], found["series"])


def site(page: Mapping[str, Any]) -> str:  # Any: JSON
    """Return the KPIs, the health and the anomaly score of a site."""
    return _over_time(page["health"]["t"], [page["health"], page["anomaly"], *page["kpis"]])


def written(rows: Sequence[Row], names: Sequence[str] | None = None) -> str:
    """Return rows as CSV."""
    columns = list(names or (rows[0] if rows else ()))
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([_cell(name) for name in columns])
    writer.writerows([[_cell(row[name]) for name in columns] for row in rows])
    return text.getvalue()


def _over_time(times: Sequence[float], series: Sequence[Mapping[str, Any]]) -> str:  # Any: JSON
    columns: dict[str, Sequence[Any]] = {"window_start": [iso(round(t * SECOND)) for t in times]}
    for one in series:
        name = one["name"] if one["unit"] == "1" else f"{one['name']} [{one['unit']}]"
        columns[name] = one["values"]
        for edge in ("low", "high"):
            if one[edge] is not None:
                columns[f"{name} {edge}"] = one[edge]
    rows = [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
    return written(rows, list(columns))


def _chosen(
    rows: Sequence[Row],
    query: QueryParams,
    searched: Sequence[str],
    *,
    names: Sequence[str] | None = None,
) -> list[Row]:
    """Return rows in which `q` is found, by `sort` and `order`, with the `columns` asked for."""
    known = list(names or (rows[0] if rows else ()))
    wanted = (query.get("q") or "").casefold()
    found = [r for r in rows if any(wanted in str(r[name]).casefold() for name in searched)]
    if sort := query.get("sort"):
        _refuse_unknown([sort], known)
        found = _sorted(found, sort, is_falling=query.get("order") == "desc")
    if asked := query.get("columns"):
        columns = asked.split(",")
        _refuse_unknown(columns, known)
        return [{name: row[name] for name in columns} for row in found]
    return list(found)


def _sorted(rows: Sequence[Row], name: str, *, is_falling: bool) -> list[Row]:
    """Return rows in order of a column; those without a value come last either way."""
    key: Callable[[Row], Any] = lambda row: (  # noqa: E731 - Any: texts or numbers
        ";".join(row[name]) if isinstance(row[name], list) else row[name]
    )
    known = [row for row in rows if row[name] is not None]
    unknown = [row for row in rows if row[name] is None]
    return sorted(known, key=key, reverse=is_falling) + unknown


def _refuse_unknown(names: Sequence[str], known: Sequence[str]) -> None:
    unknown = [name for name in names if name not in known] if known else []
    if unknown:
        raise Refused(400, f"column {unknown[0][:60]!r} is unknown, expected {', '.join(known)}")


def _cell(value: Any) -> Any:  # Any: JSON
    """Return a cell; a text that a spreadsheet would compute is marked as one."""
    if isinstance(value, list):
        value = ";".join(str(one) for one in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return "" if value is None else value
    is_formula = value.lstrip().startswith(_FORMULA) or value[:1] in ("\t", "\r", "\n")
    return f"'{value}" if is_formula else value
