"""Asset checks: blocking ones generated from the table definitions, and the books of ingest."""

from collections.abc import Mapping, Sequence

import dagster as dg

from fleet_dagster.metadata import Figures
from fleet_dagster.model.tables import INGEST_STATS, QUARANTINE, Table
from fleet_dagster.refresh.refresh import Outcome

FITS = "fits_its_definition"
ACCOUNTED = "every_snapshot_accounted_for"
QUARANTINE_SHARE = "nothing_in_quarantine"


def specs_of(key: dg.AssetKey, table: Table) -> list[dg.AssetCheckSpec]:
    """Return the checks of one table."""
    specs = [
        dg.AssetCheckSpec(
            FITS,
            asset=key,
            blocking=True,
            description="Nulls, ranges, allowed values and unique keys as the table defines them; rows that do not fit are not written.",
        )
    ]
    if table is INGEST_STATS:
        specs.append(
            dg.AssetCheckSpec(
                ACCOUNTED,
                asset=key,
                blocking=True,
                description="landed = used + duplicates + quarantined + sampled_out, in every partition.",
            )
        )
    if table is QUARANTINE:
        specs.append(
            dg.AssetCheckSpec(
                QUARANTINE_SHARE,
                asset=key,
                description="Warns when snapshots could not be used, by reason.",
            )
        )
    return specs


def results_of(
    key: dg.AssetKey, outcome: Outcome, figures: Mapping[str, Figures]
) -> list[dg.AssetCheckResult]:
    """Return the results of one table's checks, over all partitions of a run together."""
    results = [_fits(outcome)]
    if outcome.table is INGEST_STATS:
        results.append(_accounted(figures))
    if outcome.table is QUARANTINE:
        results.append(_quarantined(figures))
    over = dg.MetadataValue.text(_range_of(list(figures)))
    return [r._replace(asset_key=key, metadata={**r.metadata, "partitions": over}) for r in results]


def _range_of(keys: Sequence[str]) -> str:
    return f"{keys[0]} to {keys[-1]}" if len(keys) > 1 else "".join(keys)


def _fits(outcome: Outcome) -> dg.AssetCheckResult:
    wrong = "\n".join(f"- {v}" for v in outcome.violations) or "none"
    return dg.AssetCheckResult(
        check_name=FITS,
        passed=not outcome.violations,
        metadata={"violations": dg.MetadataValue.md(wrong)},
    )


def _accounted(figures: Mapping[str, Figures]) -> dg.AssetCheckResult:
    parts = ("used", "duplicates", "quarantined", "sampled_out")
    off = {p: int(f["landed"]) - sum(int(f[name]) for name in parts) for p, f in figures.items()}
    wrong = {partition: difference for partition, difference in off.items() if difference}
    landed = sum(int(f["landed"]) for f in figures.values())
    return dg.AssetCheckResult(
        check_name=ACCOUNTED,
        passed=not wrong,
        metadata={"landed": landed, "unaccounted": dg.MetadataValue.json(wrong)},
    )


def _quarantined(figures: Mapping[str, Figures]) -> dg.AssetCheckResult:
    reasons: dict[str, int] = {}
    for own in figures.values():
        for name, count in own.items():
            if name.startswith("problem_"):
                reasons[name.removeprefix("problem_")] = reasons.get(
                    name.removeprefix("problem_"), 0
                ) + int(count)
    table = "\n".join(
        [
            "| reason | snapshots |",
            "|---|---|",
            *(f"| {r} | {n} |" for r, n in sorted(reasons.items())),
        ]
    )
    return dg.AssetCheckResult(
        check_name=QUARANTINE_SHARE,
        passed=not reasons,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"snapshots": sum(reasons.values()), "reasons": dg.MetadataValue.md(table)},
    )
