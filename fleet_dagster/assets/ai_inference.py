"""`ai_inference` as a Dagster graph asset: a router, one op a slot, a collector."""

import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import dagster as dg
from pydantic import ValidationError

from fleet_dagster import checks
from fleet_dagster.assets.shell import Done, Step
from fleet_dagster.assets.spec import asset_key, asset_spec
from fleet_dagster.model.config import FleetConfig
from fleet_dagster.model.errors import RuleError
from fleet_dagster.model.messages import problems_in
from fleet_dagster.model.rules import refuse_broken
from fleet_dagster.model.slots import AIModelSlot
from fleet_dagster.model.tables import AI_INFERENCE
from fleet_dagster.partitions import Partitions, partitions_per_run
from fleet_dagster.refresh.inference import (
    RoutedSpan,
    SlotAnswers,
    ask_slot,
    record_answers,
    route_span,
)
from fleet_dagster.resources import RESOURCE_KEY

IN_MEMORY = "in_memory"
"""Key of the I/O manager that hands windows from op to op; they share a process."""
_NODE = "ai_inference"
_DEPS = ("site_kpi", "site_assignment", "anomaly_score")
_FIELDS: Mapping[str, Any] = {  # Any: Dagster's configuration types
    "model_id": str,
    "version": str,
    "domain": str,
    "active": bool,
    "rate_limit_hz": float,
    "confidence_threshold": float,
    "backend": str,
    "artifact": str,
    "sha256": str,
    "features": [str],
    "output": str,
    "missing": str,
    "timeout_s": float,
    "isolation": str,
    "memory_mb": int,
    "token_env": str,
}


def graph_name(config: FleetConfig) -> str:
    """Return the name under which a run's config finds the slots: `ops: <name>: ops: slot_00: config:`."""
    return f"{config.name}__{_NODE}"


def ai_inference(config: FleetConfig, partitions: Partitions) -> dg.AssetsDefinition:
    """Ask the fleet's AI models about its sites; each slot fails alone, and says why."""
    key = asset_key(config, AI_INFERENCE.name)
    check_specs = checks.specs_of(key, AI_INFERENCE)
    check_outs = {f"{graph_name(config)}_{spec.name}": spec for spec in check_specs}
    description = "asks the fleet's AI models about its sites; each slot fails alone, and says why"
    spec = asset_spec(config, AI_INFERENCE, _DEPS, partitions, made_by=f"`{_NODE}`: {description}")
    router = _router(config, partitions)
    slots = [_slot(config, partitions, n) for n in range(config.profile.ai_slots)]
    collector = _collector(config, partitions, list(check_outs))

    @dg.graph(
        name=graph_name(config),
        ins={name: dg.GraphIn() for name in _DEPS},
        out={"result": dg.GraphOut(), **{name: dg.GraphOut() for name in check_outs}},
    )
    def graph(**upstream: Any) -> Any:  # Any: Dagster's handles of what flows between ops
        routed = router.alias("ai_model_router")(**upstream)
        answers = [op.alias(f"slot_{n:02d}")(routed) for n, op in enumerate(slots)]
        made = collector.alias("collector")(routed, answers)
        return made._asdict()

    return dg.AssetsDefinition.from_graph(
        graph,
        keys_by_input_name={name: asset_key(config, name) for name in _DEPS},
        keys_by_output_name={"result": key},
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.multi_run(partitions_per_run(config)),
        check_specs=check_specs,
        group_name=config.name,
        descriptions_by_output_name={"result": str(spec.description)},
        metadata_by_output_name={"result": spec.metadata},
        tags_by_output_name={"result": spec.tags},
        owners_by_output_name={"result": spec.owners},
        code_versions_by_output_name={"result": spec.code_version},
    )


def _router(config: FleetConfig, partitions: Partitions) -> dg.OpDefinition:
    @dg.op(
        name=f"{config.name}__ai_model_router",
        description="Finds out which sites each slot is asked about, most anomalous first, up to its rate limit.",
        ins={name: dg.In(dg.Nothing) for name in _DEPS},
        out=dg.Out(io_manager_key=IN_MEMORY),
        required_resource_keys={RESOURCE_KEY},
        tags={"fleet": config.name, "node": _NODE},
    )
    def router(context: dg.AssetExecutionContext) -> RoutedSpan:
        step = Step.of(context, config, partitions)
        changed = _overrides(config, context.run.run_config)
        observer = step.observer()
        with observer.refreshing(step.whole, source="run", run_id=context.run.run_id):
            routed = route_span(step.refresh(observer), step.whole, changed)
        for (
            slot_id,
            change,
        ) in changed.items():  # a wrong configuration fails here, and not slot by slot
            for chunk in routed.chunks:
                chunk.routed.of_slot(slot_id, change)
        if changed:
            context.log.info(
                "fleet %s: a trial, slots %s are configured for this run; rows go to %s_trial",
                config.name,
                ", ".join(map(str, sorted(changed))),
                AI_INFERENCE.name,
            )
        return routed

    return router


def _slot(config: FleetConfig, partitions: Partitions, slot_id: int) -> dg.OpDefinition:
    @dg.op(
        name=f"{config.name}__slot_{slot_id:02d}",
        description=f"Asks the model in slot {slot_id}. What is configured here holds for this run only, and makes it a trial.",
        ins={"routed": dg.In(RoutedSpan)},
        out={"answers": dg.Out(io_manager_key=IN_MEMORY, is_required=False)},
        config_schema={
            name: dg.Field(kind, is_required=False, description=_meaning(name))
            for name, kind in _FIELDS.items()
        },
        required_resource_keys={RESOURCE_KEY},
        pool=f"{config.name}_slot_{slot_id:02d}",
        tags={"fleet": config.name, "node": _NODE},
    )
    def slot(
        context: dg.AssetExecutionContext, routed: RoutedSpan
    ) -> Iterator[dg.Output[tuple[int, SlotAnswers | None]]]:
        step = Step.of(context, config, partitions)
        try:
            found = ask_slot(step.refresh(), routed, slot_id)
        except Exception:
            context.log.exception("slot %d failed", slot_id)
            yield dg.Output((slot_id, None), "answers")
            return
        for text in sorted({error for part in found for one in part for error in one.errors}):
            context.log.warning("slot %d: %s", slot_id, text)
        yield dg.Output((slot_id, found), "answers")

    return slot


def _collector(
    config: FleetConfig, partitions: Partitions, check_outs: Sequence[str]
) -> dg.OpDefinition:
    key = asset_key(config, AI_INFERENCE.name)
    outs = {name: dg.Out(dg.Nothing, is_required=False) for name in ("result", *check_outs)}

    @dg.op(
        name=f"{config.name}__ai_inference_collector",
        description="Writes one outcome a slot, site and window, whatever became of the slots.",
        ins={"routed": dg.In(RoutedSpan), "answers": dg.In(list)},
        out=outs,
        required_resource_keys={RESOURCE_KEY},
        tags={"fleet": config.name, "node": _NODE},
    )
    def collector(
        context: dg.AssetExecutionContext,
        routed: RoutedSpan,
        answers: list[tuple[int, SlotAnswers | None]],
    ) -> Iterator[dg.Output[None] | dg.AssetCheckResult]:
        step = Step.of(context, config, partitions)
        began, observer = time.perf_counter(), step.observer()
        given = {n: own for n, own in answers if own is not None}
        with observer.refreshing(step.whole, source="run", run_id=context.run.run_id):
            outcome = record_answers(step.refresh(observer), routed, given)
        if routed.overrides:
            context.log.info("run %s was a trial; what stands was not touched", context.run.run_id)
            return
        made = step.report(outcome, Done(_NODE, time.perf_counter() - began, observer.judged))
        if not outcome.violations:
            yield dg.Output(None, "result")
        yield from (result._replace(asset_key=key) for result in made.check_results or ())

    return collector


def _overrides(config: FleetConfig, run_config: Mapping[str, Any]) -> dict[int, Any]:
    """Return the slots that a run configures, each as a change of the registered one."""
    given = run_config.get("ops", {}).get(graph_name(config), {}).get("ops", {})
    found = {}
    for n in range(config.profile.ai_slots):
        values = (given.get(f"slot_{n:02d}") or {}).get("config") or {}
        if values:
            found[n] = partial(_changed, config, values)
    return found


def _changed(config: FleetConfig, values: Mapping[str, Any], slot: AIModelSlot) -> AIModelSlot:
    try:
        changed = AIModelSlot.model_validate({**slot.model_dump(), **values})
        refuse_broken(config.model_copy(update={"ai_models": (changed,)}))
    except ValidationError as error:
        wrong = "; ".join(problems_in(error.errors(), AIModelSlot, {}))
    except RuleError as error:
        wrong = str(error)
    else:
        return changed
    raise dg.Failure(f"slot {slot.slot_id}: {wrong}", allow_retries=False)


def _meaning(name: str) -> str:
    return f"For this run only; left out, it is as registered. {AIModelSlot.model_fields[name].description or ''}"
