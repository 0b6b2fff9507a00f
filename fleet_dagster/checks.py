"""Asset checks: blocking ones generated from the table definitions, and the books of ingest."""

from collections.abc import Mapping, Sequence

import dagster as dg

from fleet_dagster.core.alarm_budget import (
    OFTEN,
    AlarmRate,
    is_estranged,
    is_restless,
    probability_within_budget,
)
from fleet_dagster.core.tail import ALPHA
from fleet_dagster.model.node_report import NODES, JudgedReport
from fleet_dagster.model.tables import (
    AI_INFERENCE,
    ANOMALY_SCORE,
    INGEST_STATS,
    QUARANTINE,
    Table,
)
from fleet_dagster.refresh.refresh import Outcome
from fleet_dagster.views.score_figures import Figures

FITS = "fits_its_definition"
ACCOUNTED = "every_snapshot_accounted_for"
QUARANTINE_SHARE = "nothing_in_quarantine"
ALARM_RATE = "alarm_rate_within_budget"
SLOTS_ANSWER = "every_slot_answers"
WITHIN_THRESHOLDS = "within_its_thresholds"
NODE_OF: Mapping[Table, str] = {table: node for node, table in NODES.items()}
"""The first table of each node, where its own thresholds are checked."""
_CALM = (
    "- Brief anomalies are more than chance explains. Raise the threshold (`fleet config set {fleet} anomaly_threshold=0.7`), or, "
    "where a few sites make them (`worst_site`), let these forget what was normal: "
    "`fleet config rebaseline SITE --fleet {fleet} --from DAY`."
)
_RELEARN = (
    "- Most sites are anomalous for much of the time. Either the whole fleet has an incident (see `fleet_correlation`), or it runs "
    "differently now: `fleet config rebaseline SITE --fleet {fleet} --from DAY`, DAY being when that began."
)
_SLOW = (
    "- Slow: see `node_duration_s` of its materializations over time, and what else runs on the machine; a lease that another "
    "writer holds counts as time, too.\n- As it should be from now on: its next reports become the new normal. Other limits: "
    "`streamsight` in the fleet's file."
)


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
    if table in NODE_OF:
        specs.append(
            dg.AssetCheckSpec(
                WITHIN_THRESHOLDS,
                asset=key,
                description=f"Warns when `{NODE_OF[table]}` was unusually slow, or beyond another of its thresholds (`streamsight` in the fleet's file).",
            )
        )
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
    if table is ANOMALY_SCORE:
        specs.append(
            dg.AssetCheckSpec(
                ALARM_RATE,
                asset=key,
                description=(
                    f"Warns when sites are anomalous more often than chance explains, real faults left aside: brief anomalies in "
                    f"more than {ALPHA:.0%} of the windows, or a typical site that is anomalous in more than {OFTEN:.0%} of them."
                ),
            )
        )
    if table is AI_INFERENCE:
        specs.append(
            dg.AssetCheckSpec(
                SLOTS_ANSWER,
                asset=key,
                description="Warns when a slot left questions without an answer for reasons of its own: it raised, hung, could not be loaded, or returned nonsense.",
            )
        )
    return specs


def results_of(
    key: dg.AssetKey,
    outcome: Outcome,
    figures: Mapping[str, Figures],
    *,
    newest: JudgedReport | None = None,
) -> list[dg.AssetCheckResult]:
    """Return the results of one table's checks, over all partitions of a run together; `newest` is its node's newest report."""
    results = [fits(outcome), *thresholds_kept(key, outcome.table, newest)]
    if outcome.table is INGEST_STATS:
        results.append(_accounted(figures))
    if outcome.table is QUARANTINE:
        results.append(_quarantined(figures))
    if outcome.table is ANOMALY_SCORE:
        results.append(_alarm_rate(key.path[0], figures))
    if outcome.table is AI_INFERENCE:
        results.append(_slots_answer(key.path[0], figures))
    over = dg.MetadataValue.text(_range_of(list(figures)))
    return [r._replace(asset_key=key, metadata={**r.metadata, "partitions": over}) for r in results]


def thresholds_kept(
    key: dg.AssetKey, table: Table, newest: JudgedReport | None
) -> list[dg.AssetCheckResult]:
    """Return the result of the check of a node's own thresholds, by its newest report; none of a table that has no such check.

    What runs outside of Dagster reports with it, too: the judgement is all that it needs.
    """
    if table not in NODE_OF:
        return []
    if newest is None:
        words = "It has not reported yet: nothing was to be computed"
        return [
            dg.AssetCheckResult(
                check_name=WITHIN_THRESHOLDS, passed=True, description=words, asset_key=key
            )
        ]
    report, found = newest.report, newest.judgement
    score = {} if found.anomaly_score is None else {"anomaly_score": found.anomaly_score}
    return [
        dg.AssetCheckResult(
            check_name=WITHIN_THRESHOLDS,
            asset_key=key,
            passed=not found.breaches,
            severity=dg.AssetCheckSeverity.WARN,
            description="; ".join(found.breaches) or "Within its thresholds",
            metadata={
                "windows": report.windows,
                "window_duration_s": report.window_s,
                **score,
                "what_to_do": dg.MetadataValue.md(_SLOW if found.breaches else "Nothing."),
            },
        )
    ]


def _range_of(keys: Sequence[str]) -> str:
    return f"{keys[0]} to {keys[-1]}" if len(keys) > 1 else "".join(keys)


def fits(outcome: Outcome) -> dg.AssetCheckResult:
    """Tell whether the rows of a table fitted its definition."""
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


def _alarm_rate(fleet: str, figures: Mapping[str, Figures]) -> dg.AssetCheckResult:
    rates = {partition: _rate(own) for partition, own in figures.items() if own.get("sites_scored")}
    over = {p: r for p, r in rates.items() if is_restless(r) or is_estranged(r)}
    head = "| partition | brief anomalies | chance of that | typical site anomalous | lasting |\n|---|---|---|---|---|\n"
    lines = [
        f"| {partition} | {rate.chance_share:.1%} of {rate.n_windows} windows | {probability_within_budget(rate.chance_share, rate.n_windows):.2g} "
        f"| {rate.typical_share:.1%} | {rate.n_lasting} of {rate.n_sites} sites |"
        for partition, rate in (over or rates).items()
    ]
    advice = [
        *([_CALM] if any(is_restless(r) for r in over.values()) else []),
        *([_RELEARN] if any(is_estranged(r) for r in over.values()) else []),
    ]
    said = {"what_to_do": dg.MetadataValue.md("\n".join(advice).format(fleet=fleet))}
    return dg.AssetCheckResult(
        check_name=ALARM_RATE,
        passed=not over,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "budget_pct": 100 * ALPHA,
            "rates": dg.MetadataValue.md(head + "\n".join(lines) if lines else "nothing scored"),
            **(said if over else {}),
        },
    )


def _slots_answer(fleet: str, figures: Mapping[str, Figures]) -> dg.AssetCheckResult:
    ill = {p: str(f["ill_because"]) for p, f in figures.items() if int(f["slots_ill"])}
    lines = [f"- {p}: {line}" for p, text in ill.items() for line in text.splitlines()]
    advice = f"Try a slot on its own: `fleet slots test {fleet} SLOT`. Put it out of use: `fleet slots disable {fleet} SLOT`."
    return dg.AssetCheckResult(
        check_name=SLOTS_ANSWER,
        passed=not ill,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "ill_slots": dg.MetadataValue.md("\n".join(lines) or "none"),
            **({"what_to_do": dg.MetadataValue.md(advice)} if ill else {}),
        },
    )


def _rate(own: Figures) -> AlarmRate:
    return AlarmRate(
        n_windows=int(own["windows_scored"]),
        n_sites=int(own["sites_scored"]),
        chance_share=float(own["chance_alarm_pct"]) / 100,
        n_lasting=int(own["lasting_alarm_sites"]),
        typical_share=float(own["typical_site_anomalous_pct"]) / 100,
    )
